// Reads what `inspector/packing.py` packs.

const KINDS = {
  f8: Float64Array,
  f4: Float32Array,
  i4: Int32Array,
  u2: Uint16Array,
  i2: Int16Array,
  u1: Uint8Array,
};

/** Plain values, and arrays by name as `{data, shape}`. */
export function unpack(buffer) {
  const text = new DataView(buffer).getUint32(0, true);
  const { content, arrays } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, text)));
  const found = {};
  for (const [name, [kind, shape, offset]] of Object.entries(arrays)) {
    const size = shape.reduce((product, one) => product * one, 1);
    found[name] = { data: new KINDS[kind](buffer, 4 + text + offset, size), shape };
  }
  return { content, arrays: found };
}

/** The bytes of base64 text that were compressed by gzip. */
export async function inflated(text) {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** Bytes that lie where arrays of eight bytes can begin. */
export function aligned(view) {
  return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
}
