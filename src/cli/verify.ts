export async function runVerify(_runtime: unknown, _store: string, _options: { against: string | null; json: boolean }): Promise<number> { return 1; }
