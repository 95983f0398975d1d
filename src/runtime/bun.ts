// placeholder until the adapter lands, minutes from now
export { createNodeRuntime as createBunRuntime } from "./node.ts";
