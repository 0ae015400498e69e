// What logits are worth.

/** What one pair's logits say: margin, loss and right logit, over the classes 0..C - 1. */
export function judged(logits, pair, C, label) {
  let [top, other, mean] = [-Infinity, -Infinity, 0];
  for (let c = 0; c < C; c++) {
    const value = logits[pair * C + c];
    mean += value / C;
    if (value > top) top = value;
    if (c !== label && value > other) other = value;
  }
  let total = 0;
  for (let c = 0; c < C; c++) total += Math.exp(logits[pair * C + c] - top);
  const right = logits[pair * C + label];
  return {
    margin: right - other,
    loss: Math.log(total) + top - right,
    right: right - mean,
    probability: Math.exp(right - top) / total,
  };
}
