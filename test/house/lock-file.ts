/** The parts of `package-lock.json` that are read here. */
export interface LockFile {
  packages: Record<string, LockedPackage>;
}

interface LockedPackage {
  readonly version?: string;
  readonly resolved?: string;
  readonly cpu?: readonly string[];
  readonly dev?: boolean;
  readonly libc?: readonly string[];
  readonly optional?: boolean;
  readonly os?: readonly string[];
  readonly hasInstallScript?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

interface Missing {
  readonly name: string;
  readonly version: string;
  readonly isDevelopmentOnly: boolean;
}

/**
 * Packages with native code come as one package a platform, of which npm installs the fitting one. npm drops those of
 * other platforms from the lock file where it cannot read them (npm/cli#4828), and `npm ci` then refuses the lock file
 * everywhere: these are the ones that it dropped.
 */
export function missingPlatformPackages({ packages }: LockFile): Missing[] {
  return Object.entries(packages).flatMap(([path, { optionalDependencies = {}, dev = false }]) =>
    Object.entries(optionalDependencies)
      .filter(([name]) => !(`node_modules/${name}` in packages) && !(`${path}/node_modules/${name}` in packages))
      .map(([name, version]) => ({ name, version, isDevelopmentOnly: dev })),
  );
}

/** The same lock file with the dropped packages; on their platforms npm fetches them as it would have anyway. */
export function completed(lock: LockFile): LockFile {
  const dropped = missingPlatformPackages(lock).map((missing): [string, LockedPackage] => [
    `node_modules/${missing.name}`,
    lockedPackage(missing),
  ]);
  const sorted = [...Object.entries(lock.packages), ...dropped].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return { ...lock, packages: Object.fromEntries(sorted) };
}

const systems = ["android", "darwin", "freebsd", "linux", "openbsd", "openharmony", "sunos", "win32"];
const processors = ["arm64", "arm", "x64", "ia32", "ppc64", "s390x", "riscv64", "loong64", "wasm32"];

/** `@oxlint/binding-linux-x64-musl` -> linux, x64, musl: npm compares it with its machine. Keys in npm's order. */
function lockedPackage({ name, version, isDevelopmentOnly }: Missing): LockedPackage {
  const words = name.split(/[/-]/);
  const system = systems.find((each) => words.includes(each));
  const processor = processors.find((each) => words.includes(each));
  const isMusl = words.some((word) => word.startsWith("musl"));
  const isGlibc = system === "linux" && words.some((word) => word.startsWith("gnu"));
  return {
    version,
    ...(processor === undefined ? {} : { cpu: [processor] }),
    ...(isDevelopmentOnly ? { dev: true } : {}),
    ...(isMusl ? { libc: ["musl"] } : isGlibc ? { libc: ["glibc"] } : {}),
    optional: true,
    ...(system === undefined ? {} : { os: [system] }),
  };
}
