// One file of config/: its document, read with Apache's fall-back to `.bak` and written so that a crash at any moment
// leaves a whole file. Fields it does not know stay in the document and on the disk. The managers beside it give the
// documents meaning; nothing here is called by more than one owner.

import { makeDurableDirectory } from "../base/durable_directory.ts";
import { errorMessage, StoreError } from "../base/errors.ts";
import { utf8 } from "../base/bytes.ts";
import type { Logger } from "../base/logger.ts";
import { FILE_FORMAT, isJavaJsonObject, javaJsonObject, parseJavaJson, writeJavaJson } from "../remoting/java_json.ts";
import type { JavaJson, JavaJsonFormat, JavaJsonObject } from "../remoting/java_json.ts";
import type { Clock, FileSystem } from "../runtime/runtime.ts";

/** What every manager of a config file needs. */
export interface ConfigManagerOptions {
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly logger: Logger;
  /** `<storePathRootDir>/config`. */
  readonly directory: string;
}

/** Orders two states of a table. Mirrors Apache's `DataVersion`; equal only if all three are. */
export interface DataVersion {
  readonly stateVersion: number;
  /** Unix ms of the last change. */
  readonly timestamp: number;
  readonly counter: number;
}

/** Mirrors Apache's `ConfigManager`, which it differs from in replacing the file atomically. */
export class ConfigManager {
  /** Full path of the file. */
  readonly path: string;
  protected readonly options: ConfigManagerOptions;
  #document: JavaJsonObject = javaJsonObject();
  #fileText: string | null = null;
  #persisting: Promise<void> = Promise.resolve();
  /** The write that has not begun: whoever asks meanwhile waits for it too. */
  #queued: Promise<void> | null = null;
  /** What {@link dataVersion} says while the file holds none: Apache's initial value. */
  protected readonly bootVersion: DataVersion;

  constructor(fileName: string, options: ConfigManagerOptions) {
    this.path = `${options.directory}/${fileName}`;
    this.options = options;
    this.bootVersion = { stateVersion: 0, timestamp: options.clock.now(), counter: 0 };
  }

  /** The document. Treat as read-only; change it through {@link replace}. A subclass may make it when it is asked for. */
  get document(): JavaJsonObject {
    return this.#document;
  }

  /**
   * Reads the file, else its `.bak`; starts empty where neither is there. Returns where it came from. Throws
   * {@link StoreError} when there is something and none of it can be read: no crash of ours leaves that, and to go on
   * with nothing would start every group over. Apache's broker does not start either when both are broken; it does,
   * empty, when the only one is.
   */
  load(): "file" | "bak" | "empty" {
    this.#document = javaJsonObject();
    this.#fileText = null;
    const problems: string[] = [];
    for (const [source, path] of [["file", this.path], ["bak", `${this.path}.bak`]] as const) {
      const text = this.#read(path);
      if (text === null) continue;
      try {
        const document = parseJavaJson(text);
        if (!isJavaJsonObject(document)) throw new Error("The text is no JSON object");
        this.#document = document;
        // Only the main file's own text lets a later persist be skipped.
        this.#fileText = source === "file" ? text : null;
        if (source === "bak") {
          this.options.logger.warn("Read the previous config, the current one is unusable", { path });
        }
        return source;
      } catch (error) {
        problems.push(`"${path}" (${errorMessage(error)})`);
        this.options.logger.warn("Can't read a config file", { path, error: errorMessage(error) });
      }
    }
    if (problems.length === 0) return "empty";
    throw new StoreError(
      `Can't read ${
        problems.join(" nor ")
      }, wanted a JSON object; restore "${this.path}" from a copy, or remove it and its .bak to start ` +
        "without what they held",
    );
  }

  /** Puts a new document in place, at once and whole. {@link persist} writes it. */
  replace(document: JavaJsonObject): void {
    this.#document = document;
  }

  /** The document with these members put over its own; `undefined` ones stay as they are. */
  merged(members: Readonly<Record<string, JavaJson | undefined>>): JavaJsonObject {
    const document = javaJsonObject(this.document);
    for (const [key, value] of Object.entries(members)) if (value !== undefined) document[key] = value;
    return document;
  }

  /** The object under `key`; an empty one when it is missing or something else. */
  table(key: string): JavaJson {
    const value = this.document[key];
    return value instanceof Map || isJavaJsonObject(value) ? value : javaJsonObject();
  }

  /** The file's DataVersion; one of the boot when the file has none (4.9 writes it to two of the files only). */
  get dataVersion(): DataVersion {
    return readDataVersion(this.#document.dataVersion) ?? this.bootVersion;
  }

  /** Version after a change made here: counter + 1, timestamp now. */
  protected nextDataVersion(): JavaJsonObject {
    const { stateVersion, counter } = this.dataVersion;
    return dataVersionJson({ stateVersion, counter: counter + 1, timestamp: this.options.clock.now() });
  }

  /**
   * Writes the document when it differs from the file: a temporary file, synced, then renamed over the old one, whose
   * text is in `.bak` by then. Each call resolves when the document of its time, or a later one, is durable. Throws
   * `IoError`.
   */
  persist(): Promise<void> {
    this.#queued ??= this.#persisting = this.#persisting.catch(() => undefined).then(() => {
      this.#queued = null;
      return this.#write();
    });
    return this.#queued;
  }

  /** Resolves once no write is under way or waits; whoever asked for one hears of its failure. */
  async settled(): Promise<void> {
    for (let last: Promise<void> | null = null; last !== this.#persisting;) {
      last = this.#persisting;
      await last.catch(() => undefined);
    }
  }

  /** The document's text. A subclass may know a faster way to it. */
  encode(format: JavaJsonFormat): string {
    return writeJavaJson(this.document, format);
  }

  async #write(): Promise<void> {
    const text = this.encode(FILE_FORMAT);
    if (text === this.#fileText) return;
    const { fs, directory } = this.options;
    makeDurableDirectory(fs, directory);
    const temporary = `${this.path}.tmp`;
    fs.writeFile(temporary, utf8.encode(text));
    const file = fs.open(temporary, "write");
    try {
      await file.sync();
    } finally {
      file.close();
    }
    // A broken main file must not take the place of a good `.bak`.
    if (this.#fileText !== null) fs.writeFile(`${this.path}.bak`, utf8.encode(this.#fileText));
    fs.rename(temporary, this.path);
    fs.syncDirectory(directory);
    this.#fileText = text;
  }

  #read(path: string): string | null {
    const bytes = this.options.fs.readFile(path);
    if (bytes === null) return null;
    const text = utf8.decode(bytes);
    return text.trim() === "" ? null : text;
  }
}

/** Reads a DataVersion; null when the value is none. */
export function readDataVersion(value: JavaJson | undefined): DataVersion | null {
  if (!isJavaJsonObject(value)) return null;
  const number = (key: string) => (Number.isSafeInteger(value[key]) ? value[key] as number : 0);
  return { stateVersion: number("stateVersion"), timestamp: number("timestamp"), counter: number("counter") };
}

/** Its JSON, in Apache's order. */
export function dataVersionJson(version: DataVersion): JavaJsonObject {
  const { counter, stateVersion, timestamp } = version;
  return javaJsonObject({ counter, stateVersion, timestamp });
}
