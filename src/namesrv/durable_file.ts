// One small file that is replaced as a whole: a crash at any moment leaves the old content or the new one, and the one
// before it in `.bak`, as Apache's `MixAll.string2File` has it. What is in it is the owner's business.

import { bytesEqual } from "../base/bytes.ts";
import { makeDurableDirectory } from "../base/durable_directory.ts";
import type { FileSystem } from "../runtime/runtime.ts";

/** A file and its `.bak`. Writes queue up. */
export class DurableFile {
  readonly path: string;
  readonly #fs: FileSystem;
  /** Content of the file, when it is known to be good. */
  #current: Uint8Array | null = null;
  #writing: Promise<void> = Promise.resolve();

  constructor(fs: FileSystem, path: string) {
    this.#fs = fs;
    this.path = path;
  }

  /**
   * Hands the file's content to `use`, or that of `.bak` where there is no file or `use` throws for it. Returns what came
   * of it, and every error on the way; value null when there is nothing usable.
   */
  load<T>(
    use: (content: Uint8Array) => T,
  ): { readonly value: T | null; readonly isBackup: boolean; errors: unknown[] } {
    const errors: unknown[] = [];
    for (const path of [this.path, `${this.path}.bak`]) {
      const isBackup = path !== this.path;
      try {
        const content = this.#fs.readFile(path);
        if (content === null) continue;
        const value = use(content);
        if (!isBackup) this.#current = content;
        return { value, isBackup, errors };
      } catch (error) {
        errors.push(error);
      }
    }
    return { value: null, isBackup: false, errors };
  }

  /** Takes what somebody else read of the file as its content, for `.bak`. */
  adopt(content: Uint8Array): void {
    this.#current = content;
  }

  /** Resolves once what `content` makes, when its turn comes, is on the disk. Throws `IoError`. */
  write(content: () => Uint8Array): Promise<void> {
    const next = this.#writing.catch(() => undefined).then(() => this.#replace(content()));
    this.#writing = next;
    return next;
  }

  /** Resolves once nothing is being written, whatever came of it. */
  async idle(): Promise<void> {
    await this.#writing.catch(() => undefined);
  }

  async #replace(content: Uint8Array): Promise<void> {
    if (this.#current !== null && bytesEqual(this.#current, content)) return;
    const directory = this.path.includes("/") ? this.path.slice(0, this.path.lastIndexOf("/")) || "/" : ".";
    makeDurableDirectory(this.#fs, directory);
    const temporary = `${this.path}.tmp`;
    this.#fs.writeFile(temporary, content);
    const file = this.#fs.open(temporary, "write");
    try {
      await file.sync();
    } finally {
      file.close();
    }
    // A broken file must not take the place of a good `.bak`.
    if (this.#current !== null) this.#fs.writeFile(`${this.path}.bak`, this.#current);
    this.#fs.rename(temporary, this.path);
    this.#fs.syncDirectory(directory);
    this.#current = content;
  }
}
