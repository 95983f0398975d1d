// placeholder until the adapter lands, minutes from now
export { createNodeRuntime as createDenoRuntime } from "./node.ts";
