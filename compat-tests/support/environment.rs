//! Environments of other languages, made from their registries under `target/compat` and kept for the next run.
//!
//! Never the system's package manager: what the machine lacks is said, not installed.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

/// Why an environment could not be made: the toolchain, or the way to its registry.
#[derive(Debug, Clone)]
pub(crate) struct Missing(pub String);

/// Environments are made one at a time: two tests of one runner may want the same.
static MAKING: Mutex<()> = Mutex::new(());

/// `compat-tests/<language>` of this package.
pub(crate) fn sources(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compat-tests").join(language)
}

/// Where environments and build results live.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../compat")
}

/// A Python interpreter with the packages of `requirements` (a file beside the suites).
pub(crate) fn python(requirements: &str) -> Result<PathBuf, Missing> {
    let interpreter = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let version = output(Command::new(&interpreter).arg("--version"), "python3 (3.9 or newer, with venv)")?;
    let list = sources("python").join(requirements);
    let directory = kept("python", &[&version, &read(&list)?], |directory| {
        run(
            Command::new(&interpreter).args(["-m", "venv"]).arg(directory),
            "python3 -m venv (Debian: the package python3-venv)",
        )?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        run(Command::new(python_in(directory)).args(pip).arg(&list), "pip install from the Python registry")
    })?;
    Ok(python_in(&directory))
}

fn python_in(directory: &Path) -> PathBuf {
    directory.join("bin/python")
}

/// The Go tool, with the modules of `compat-tests/<folder>` downloaded.
pub(crate) fn go(folder: &str) -> Result<Command, Missing> {
    output(Command::new("go").arg("version"), "go (1.26 or newer)")?;
    let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    run(
        Command::new("go").args(["mod", "download", "all"]).current_dir(sources(folder)),
        "go mod download from the Go module proxy",
    )?;
    let mut command = Command::new("go");
    command.current_dir(sources(folder)).env("GOFLAGS", "-mod=readonly");
    Ok(command)
}

/// A directory that holds the Node programs and their `node_modules`.
pub(crate) fn node() -> Result<PathBuf, Missing> {
    let directory = npm("node")?;
    let programs = programs("node", "mjs")?;
    copy(&sources("node"), &directory, &programs.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(directory)
}

/// A directory with the `node_modules` that `compat-tests/<folder>/package-lock.json` lists.
pub(crate) fn npm(folder: &str) -> Result<PathBuf, Missing> {
    let version = output(Command::new("node").arg("--version"), "node (20 or newer)")?;
    let lock = read(&sources(folder).join("package-lock.json"))?;
    kept("node", &[&version, &lock], |directory| {
        copy(&sources(folder), directory, &["package.json", "package-lock.json"])?;
        let quiet = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
        run(Command::new("npm").args(quiet).current_dir(directory), "npm ci from the Node registry")
    })
}

/// The class path of the libraries that the Java programs of `compat-tests/<folder>` use; the programs themselves run
/// from source.
pub(crate) fn java(folder: &str) -> Result<String, Missing> {
    let version = output(Command::new("java").arg("-version"), "java (17 or newer)")?;
    output(Command::new("mvn").arg("--version"), "mvn (Maven)")?;
    let directory = kept("java", &[&version, &read(&sources(folder).join("pom.xml"))?], |directory| {
        copy(&sources(folder), directory, &["pom.xml"])?;
        let goal = ["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DoutputDirectory=lib"];
        run(Command::new("mvn").args(goal).current_dir(directory), "mvn from the Maven registry")
    })?;
    Ok(directory.join("lib/*").display().to_string())
}

/// Java programs compiled against a class path, for those that hand their own classes to a framework; the class path of
/// both.
pub(crate) fn compiled(class_path: &str, programs: &[PathBuf]) -> Result<String, Missing> {
    let version = output(Command::new("javac").arg("-version"), "javac (17 or newer)")?;
    let texts = programs.iter().map(|program| read(program)).collect::<Result<Vec<_>, _>>()?;
    let mut inputs = vec![version.as_str(), class_path];
    inputs.extend(texts.iter().map(String::as_str));
    let directory = kept("classes", &inputs, |directory| {
        let mut javac = Command::new("javac");
        run(javac.args(["-cp", class_path, "-d"]).arg(directory).args(programs), "javac")
    })?;
    Ok(format!("{class_path}:{}", directory.display()))
}

/// Whether the machine has a program, and what it says to these arguments; `package` is where it would come from.
pub(crate) fn has(program: &str, arguments: &[&str], package: &str) -> Result<String, Missing> {
    output(Command::new(program).args(arguments), &format!("{program} ({package})"))
}

/// `compat-tests/c/<name>.c`, compiled, if the machine has a library's header.
pub(crate) fn c(name: &str, header: &str, libraries: &[&str]) -> Result<PathBuf, Missing> {
    let version = output(Command::new("cc").arg("--version"), "cc (any C compiler)")?;
    run(Command::new("cc").args(["-fsyntax-only", "-include", header, "-x", "c", "/dev/null"]), header)?;
    let (source, frame) = (sources("c").join(name).with_extension("c"), sources("c").join("tap.h"));
    let inputs = [version, read(&source)?, read(&frame)?, libraries.join(" ")];
    let directory = kept("c", &inputs.each_ref().map(String::as_str), |directory| {
        let mut cc = Command::new("cc");
        cc.args(["-std=c11", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-O1", "-o"]);
        cc.arg(directory.join(name)).arg(&source).args(libraries);
        // With its header there it is no skip.
        run(&mut cc, "cc").unwrap_or_else(|Missing(reason)| panic!("{name}.c: {reason}"));
        Ok(())
    })?;
    Ok(directory.join(name))
}

/// A directory made once for these inputs; without its stamp it is half made, and made again.
fn kept(
    language: &str,
    inputs: &[&str],
    make: impl FnOnce(&Path) -> Result<(), Missing>,
) -> Result<PathBuf, Missing> {
    let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut hasher = DefaultHasher::new();
    inputs.hash(&mut hasher);
    std::fs::create_dir_all(cache()).expect("target/ can be written");
    let cache = cache().canonicalize().expect("just made");
    let directory = cache.join(format!("{language}-{:016x}", hasher.finish()));
    let stamp = directory.join("complete");
    if !stamp.exists() {
        super::report::say(&format!("{language}: making the environment (once)"));
        if directory.exists() {
            std::fs::remove_dir_all(&directory).expect("a half-made environment can be removed");
        }
        std::fs::create_dir_all(&directory).expect("target/ can be written");
        make(&directory)?;
        std::fs::write(&stamp, "").expect("target/ can be written");
    }
    Ok(directory)
}

/// Every Java program of `compat-tests/<folder>`.
pub(crate) fn java_programs(folder: &str) -> Result<Vec<PathBuf>, Missing> {
    Ok(programs(folder, "java")?.iter().map(|name| sources(folder).join(name)).collect())
}

/// The programs of a language: every file of `compat-tests/<language>` with that extension.
fn programs(language: &str, extension: &str) -> Result<Vec<String>, Missing> {
    let listing = std::fs::read_dir(sources(language)).map_err(|error| Missing(error.to_string()))?;
    let mut names: Vec<String> = listing
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|found| found == extension))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

fn copy(from: &Path, to: &Path, names: &[&str]) -> Result<(), Missing> {
    for name in names {
        std::fs::copy(from.join(name), to.join(name))
            .map_err(|error| Missing(format!("{}: {error}", from.join(name).display())))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Missing> {
    std::fs::read_to_string(path).map_err(|error| Missing(format!("{}: {error}", path.display())))
}

fn run(command: &mut Command, what: &str) -> Result<(), Missing> {
    output(command, what).map(|_| ())
}

/// Runs a command to its end; what it said last explains a failure.
fn output(command: &mut Command, what: &str) -> Result<String, Missing> {
    let done = command.stdin(Stdio::null()).output();
    let done = done.map_err(|error| Missing(format!("{what} is missing: {error}")))?;
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if done.status.success() {
        return Ok(said);
    }
    let lines: Vec<&str> = said.lines().collect();
    let from = lines.len().saturating_sub(8);
    Err(Missing(format!("{what} failed: {}", lines[from..].join(" / "))))
}
