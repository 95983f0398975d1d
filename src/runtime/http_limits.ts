// What all HTTP adapters share: the bound of a request body and the plain answers given without asking the handler.

/** Bytes of a request body at most; more is answered with 413, or fails the handler's reading when it was chunked. */
export const HTTP_BODY_BYTES_MAX = 16 * 1024 * 1024;

/** A body that fails with an error once more than {@link HTTP_BODY_BYTES_MAX} bytes came. */
export function limitBody(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  let total = 0;
  return body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>(
      {
        transform(chunk, controller) {
          total += chunk.length;
          if (total > HTTP_BODY_BYTES_MAX) throw new RangeError(`Body is over ${HTTP_BODY_BYTES_MAX} bytes`);
          controller.enqueue(chunk);
        },
      },
      undefined,
      { highWaterMark: 0 },
    ),
  );
}

/** Answers for requests that don't reach the handler, or that it failed on. */
export const PLAIN_FAILURES = {
  badRequest: () => new Response("Bad request\n", { status: 400 }),
  tooLarge: () => new Response("Body too large\n", { status: 413 }),
  internal: () => new Response("Internal error\n", { status: 500 }),
};
