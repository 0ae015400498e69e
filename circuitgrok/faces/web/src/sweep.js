export function sweep() {}
