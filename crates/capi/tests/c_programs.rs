//! The C library, as programs of C and C++ use it. Each test compiles what is below `tests/c` and `examples`, links
//! with the shared object or the archive, and runs it.
//!
//! A compiler that is missing is named, and its part is not run. `.ci/task capi` installs them before.
//!
//! The file is long since all of its tests share the functions that compile and run a program.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ring::{Broken, Options};

#[path = "../../../tests/common/not_run.rs"]
mod not_run;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of `libshmpipe.so` and `libshmpipe.a`. Cargo does not build them for a test by itself.
fn libraries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "shmpipe-capi"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let status = cargo.current_dir(package()).status().unwrap();
        assert!(status.success());
        // The test stands in target/PROFILE/deps.
        let test = std::env::current_exe().unwrap();
        let folder = test.parent().unwrap().parent().unwrap().to_path_buf();
        assert!(folder.join("libshmpipe.so").exists(), "{folder:?}");
        folder
    })
}

/// A folder of one test, removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("shmpipe-capi-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        // Programs look for the name that the shared object has in itself.
        let object = libraries().join("libshmpipe.so");
        std::os::unix::fs::symlink(object, path.join("libshmpipe.so.0")).unwrap();
        Folder(path)
    }

    fn ring(&self) -> PathBuf {
        let path = self.0.join("ring");
        fs::write(&path, "").unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Says so as the library's tests do, with the name of this package.
fn not_run(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    not_run::case_not_run(&format!("capi: {test}"), why);
}

fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        not_run(&format!("there is no {tool}"));
        // Without this, a machine that is to have the tool would pass without it.
        assert!(std::env::var_os("SHMPIPE_ALL_TOOLS").is_none(), "{tool}");
    }
    found
}

const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-pedantic", "-Werror"];

/// The compilers to be had, each with a standard: C11, C17 and C++17.
fn compilers() -> Vec<(&'static str, &'static str)> {
    let all = [
        ("gcc", "gnu11"),
        ("gcc", "gnu17"),
        ("g++", "gnu++17"),
        ("clang", "gnu11"),
        ("clang", "gnu17"),
        ("clang++", "gnu++17"),
    ];
    all.into_iter().filter(|(tool, _)| has(tool)).collect()
}

/// Compiles a program with the shared object, and returns its path.
fn compile(folder: &Folder, tool: &str, standard: &str, source: &str, more: &[&str]) -> PathBuf {
    let name = Path::new(source).file_stem().unwrap().to_str().unwrap();
    let program = folder.0.join(format!("{name}-{tool}-{standard}"));
    let mut compiler = Command::new(tool);
    compiler.arg(format!("-std={standard}")).args(STRICT);
    compiler.arg("-I").arg(package().join("include"));
    if standard.contains("++") {
        compiler.args(["-x", "c++"]);
    }
    compiler.arg(package().join(source)).args(["-x", "none"]);
    compiler
        .arg("-o")
        .arg(&program)
        .args(["-pthread"])
        .args(more);
    if !more.contains(&"-c") {
        compiler.arg(libraries().join("libshmpipe.so"));
        compiler.arg(format!("-Wl,-rpath,{}", folder.0.display()));
    }
    let output = compiler.output().unwrap();
    assert!(output.status.success(), "{tool}: {}", text(&output.stderr));
    program
}

/// Compiles a source as gcc does by itself, with `more` arguments.
fn plain_gcc(source: &str, made: &Path, more: &[&str]) {
    let mut gcc = Command::new("gcc");
    gcc.arg("-I").arg(package().join("include"));
    gcc.arg(package().join(source)).args(more);
    let output = gcc.arg("-o").arg(made).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Compiles a source with the archive in it.
fn with_archive(source: &str, made: &Path, more: &[&str]) {
    let archive = libraries().join("libshmpipe.a");
    let linked = [
        archive.to_str().unwrap(),
        "-pthread",
        "-ldl",
        "-lm",
        "-lgcc_s",
    ];
    plain_gcc(source, made, &[more, &linked].concat());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a program under a generous limit, so that a hang ends the test.
fn run(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120"]).arg(program);
    let output = command.args(arguments).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{program:?}: {said}");
    output
}

fn start(program: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120"]).arg(program);
    let piped = command.args(arguments).stdin(Stdio::piped());
    piped.stdout(Stdio::piped()).spawn().unwrap()
}

fn gcc(folder: &Folder, source: &str) -> Option<PathBuf> {
    has("gcc").then(|| compile(folder, "gcc", "gnu11", source, &[]))
}

#[test]
fn each_compiler_and_standard_takes_the_header_and_keeps_its_promises() {
    for (tool, standard) in compilers() {
        let folder = Folder::new();
        let ring = folder.ring();
        let program = compile(&folder, tool, standard, "tests/c/checks.c", &[]);
        let output = run(&program, &[ring.to_str().unwrap()]);
        assert_eq!(text(&output.stdout), "all checks hold\n");
    }
}

#[test]
fn the_header_alone_is_strictly_conforming() {
    let folder = Folder::new();
    let source = folder.0.join("alone.c");
    fs::write(&source, "#include <shmpipe.h>\n#include <shmpipe.h>\nint use(void); int use(void) { shmpipe_options o = SHMPIPE_OPTIONS_INIT; return (int)o.flags; }\n").unwrap();
    for (tool, standard) in compilers() {
        let standard = standard.replace("gnu", "c");
        compile(&folder, tool, &standard, source.to_str().unwrap(), &["-c"]);
    }
}

#[test]
fn header_and_exported_symbols_agree() {
    if !has("nm") {
        return;
    }
    let header = fs::read_to_string(package().join("include/shmpipe.h")).unwrap();
    let object = libraries().join("libshmpipe.so");
    let output = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(object)
        .output()
        .unwrap();
    let listed = text(&output.stdout);
    let exported: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    let code = header
        .split("*/")
        .map(|part| part.split("/*").next().unwrap());
    let code: String = code.collect::<String>().replace("\\\n", "");
    let code = code.lines().filter(|line| !line.starts_with('#'));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let mut declared: Vec<&str> = code
        .split(';')
        .filter_map(|statement| statement.split_once('(').map(|(head, _)| head))
        .filter_map(|head| head.split([' ', '*', '\n']).next_back())
        .filter(|name| name.starts_with("shmpipe_"))
        .collect();
    declared.sort_unstable();
    assert!(declared.len() > 25, "{declared:?}");
    assert_eq!(declared, exported);
}

/// With functions bound at home (`-Bsymbolic-functions`, as Debian builds), the loader still lets
/// the two copies share variables. One that the copies shared told the fork, and one that they did
/// not share counted the tokens: the child's first use of one made the other's handles usable.
#[test]
fn two_copies_in_one_process_both_tell_a_fork() {
    if !has("gcc") {
        return;
    }
    let folder = Folder::new();
    for copy in ["a", "b"] {
        let object = folder.0.join(format!("lib{copy}.so"));
        let define = format!("-DCOPY={copy}");
        let shared = ["-shared", "-fPIC", "-Wl,-Bsymbolic-functions", &define];
        with_archive("tests/c/embedded.c", &object, &shared);
    }
    let program = folder.0.join("two-copies");
    let there = format!("-L{}", folder.0.display());
    let at_run_time = format!("-Wl,-rpath,{}", folder.0.display());
    let more = [&there, &at_run_time, "-la", "-lb"];
    plain_gcc("tests/c/two_copies.c", &program, &more);
    run(&program, &[]);
}

#[test]
fn the_shared_object_has_its_name_and_stays_loaded() {
    if !has("readelf") {
        return;
    }
    let object = libraries().join("libshmpipe.so");
    let output = Command::new("readelf")
        .arg("-d")
        .arg(object)
        .output()
        .unwrap();
    let listed = text(&output.stdout);
    assert!(
        listed.contains("Library soname: [libshmpipe.so.0]"),
        "{listed}"
    );
    assert!(listed.contains("NODELETE"), "{listed}");
}

#[test]
fn the_archive_serves_a_program_alone() {
    if !has("gcc") {
        return;
    }
    let folder = Folder::new();
    let ring = folder.ring();
    let program = folder.0.join("static");
    with_archive("tests/c/checks.c", &program, &[]);
    run(&program, &[ring.to_str().unwrap()]);
}

#[test]
fn a_client_is_clean_under_address_and_undefined_behaviour_sanitizers() {
    if !has("gcc") {
        return;
    }
    let folder = Folder::new();
    let ring = folder.ring();
    let more = [
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-g",
    ];
    let program = compile(&folder, "gcc", "gnu11", "tests/c/checks.c", &more);
    run(&program, &[ring.to_str().unwrap()]);
}

/// What byte `n` of a stream of `tests/c/peer.c` is.
fn byte_at(n: u64) -> u8 {
    (n * 31 + (n >> 8) * 7) as u8
}

fn options() -> Options {
    let mut options = Options::new();
    options.timeout(Some(Duration::from_secs(60)));
    options
}

#[test]
fn c_writes_and_rust_reads() {
    let folder = Folder::new();
    let ring = folder.ring();
    let Some(peer) = gcc(&folder, "tests/c/peer.c") else {
        return;
    };
    for (bytes, how) in [(10_000_000, ""), (300_000, "small"), (0, "")] {
        let bytes = bytes.to_string();
        let child = start(&peer, &["producer", ring.to_str().unwrap(), &bytes, how]);
        let mut received = Vec::new();
        let mut consumer = options().open_consumer(&ring).unwrap();
        consumer.read_to_end(&mut received).unwrap();
        drop(consumer);
        assert!(child.wait_with_output().unwrap().status.success());
        assert_eq!(received.len().to_string(), bytes);
        let is_right = |(at, byte): (usize, &u8)| *byte == byte_at(at as u64);
        assert!(received.iter().enumerate().all(is_right));
    }
}

#[test]
fn rust_writes_and_c_reads() {
    let folder = Folder::new();
    let ring = folder.ring();
    let Some(peer) = gcc(&folder, "tests/c/peer.c") else {
        return;
    };
    for (len, how) in [(10_000_000, ""), (300_000, "small")] {
        let child = start(
            &peer,
            &["consumer", ring.to_str().unwrap(), "100000000", how],
        );
        let bytes: Vec<u8> = (0..len).map(byte_at).collect();
        let mut producer = options().open_producer(&ring).unwrap();
        producer.write_all(&bytes).unwrap();
        producer.close().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(text(&output.stdout), format!("{len} SHMPIPE_OK\n"));
        assert!(output.status.success());
    }
}

#[test]
fn each_side_notices_how_the_other_left() {
    let folder = Folder::new();
    let ring = folder.ring();
    let path = ring.to_str().unwrap();
    let Some(peer) = gcc(&folder, "tests/c/peer.c") else {
        return;
    };
    for how in ["kill", "abort"] {
        // A C producer that leaves, and a Rust consumer.
        let mut child = start(&peer, &["producer", path, "1000", how]);
        let mut consumer = options().open_consumer(&ring).unwrap();
        let mut received = Vec::new();
        let error = consumer.read_to_end(&mut received).unwrap_err();
        let died = matches!(Broken::find(&error), Some(Broken::Died { .. }));
        let aborted = matches!(Broken::find(&error), Some(Broken::ProducerAborted));
        assert_eq!(
            (received.len(), died, aborted),
            (1000, how == "kill", how == "abort")
        );
        child.wait().unwrap();
    }
    // A Rust producer that aborts, and a C consumer.
    let child = start(&peer, &["consumer", path, "1000000"]);
    let mut producer = options().open_producer(&ring).unwrap();
    producer.write_all(&[byte_at(0)]).unwrap();
    producer.abort();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "1 SHMPIPE_PRODUCER_ABORTED\n");
    // C on both sides: each of them is killed.
    let killed = start(&peer, &["producer", path, "1000", "kill"]);
    let reads = start(&peer, &["consumer", path, "1000000"]);
    assert_eq!(
        text(&reads.wait_with_output().unwrap().stdout),
        "1000 SHMPIPE_PEER_DIED\n"
    );
    killed.wait_with_output().unwrap();
    let killed = start(&peer, &["consumer", path, "1000", "kill"]);
    let writes = start(&peer, &["producer", path, "100000000"]);
    assert_eq!(
        text(&writes.wait_with_output().unwrap().stdout),
        "SHMPIPE_PEER_DIED\n"
    );
    killed.wait_with_output().unwrap();
}

#[test]
fn the_writer_and_the_reader_of_the_textbook() {
    let folder = Folder::new();
    let path = folder.0.join("made by them");
    let Some(writer) = gcc(&folder, "examples/writer.c") else {
        return;
    };
    let reader = gcc(&folder, "examples/reader.c").unwrap();
    let bytes: Vec<u8> = (0..3_000_000).map(byte_at).collect();
    let reads = start(&reader, &[path.to_str().unwrap()]);
    let mut writes = start(&writer, &[path.to_str().unwrap()]);
    let mut stdin = writes.stdin.take().unwrap();
    let copy = bytes.clone();
    let feeding = std::thread::spawn(move || stdin.write_all(&copy));
    let output = reads.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    assert!(output.status.success() && output.stdout == bytes);
    assert!(writes.wait_with_output().unwrap().status.success());
}

#[test]
fn one_poll_loop_serves_a_pipe_and_a_ring() {
    let folder = Folder::new();
    let ring = folder.ring();
    let Some(program) = gcc(&folder, "examples/poll_loop.c") else {
        return;
    };
    let mut child = start(&program, &[ring.to_str().unwrap()]);
    let mut producer = options().open_producer(&ring).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for _ in 0..100 {
        producer.write_all(&[1; 1000]).unwrap();
        stdin.write_all(&[2; 10]).unwrap();
    }
    drop(stdin);
    producer.close().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(said, "1000 from stdin, 100000 from the ring\n");
}

#[test]
fn a_child_gets_a_ring_in_each_direction() {
    let folder = Folder::new();
    let Some(program) = gcc(&folder, "examples/duplex.c") else {
        return;
    };
    let output = run(&program, &[]);
    assert_eq!(text(&output.stdout), "1 -> 2\n2 -> 3\n3 -> 4\n");
    // The child of a Rust program.
    let mut command = Command::new(&program);
    let (mut producer, mut consumer, mut child) =
        Options::new().spawn_duplex(command.arg("child")).unwrap();
    producer.write_all(&[41]).unwrap();
    let mut answer = [0];
    consumer.read_exact(&mut answer).unwrap();
    producer.close().unwrap();
    assert_eq!((answer, consumer.read(&mut [0]).unwrap()), ([42], 0));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_wrapper_for_cpp_closes_or_aborts() {
    for tool in ["g++", "clang++"] {
        if has(tool) {
            let folder = Folder::new();
            let program = compile(&folder, tool, "c++17", "examples/raii.cpp", &[]);
            let output = run(&program, &[]);
            let said = text(&output.stdout);
            assert!(
                said.starts_with("from another thread\nSHMPIPE_PRODUCER_ABORTED: "),
                "{said}"
            );
        }
    }
}

#[test]
fn go_calls_the_library_by_cgo() {
    if Command::new("go").arg("version").output().is_err() || !has("gcc") {
        return not_run("there is no Go toolchain (golang-go)");
    }
    let folder = Folder::new();
    let ring = folder.ring();
    let program = folder.0.join("reader");
    let mut go = Command::new("go");
    go.arg("build")
        .arg("-o")
        .arg(&program)
        .arg(package().join("examples/reader.go"));
    go.env("GOCACHE", folder.0.join("cache"))
        .env("GOFLAGS", "-mod=mod");
    go.env(
        "CGO_CFLAGS",
        format!("-I{}", package().join("include").display()),
    );
    let search = format!(
        "-L{} -Wl,-rpath,{}",
        libraries().display(),
        folder.0.display()
    );
    let output = go
        .env("CGO_LDFLAGS", search)
        .env("HOME", &folder.0)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let child = start(&program, &[ring.to_str().unwrap()]);
    let mut producer = options().open_producer(&ring).unwrap();
    producer.write_all(&[7; 123_456]).unwrap();
    producer.close().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "123456 bytes\n");
}

#[test]
fn an_installed_library_is_found_by_pkg_config() {
    if !has("gcc") || !has("pkg-config") {
        return;
    }
    let folder = Folder::new();
    let ring = folder.ring();
    let prefix = folder.0.join("prefix");
    let status = Command::new(package().join("install"))
        .arg(&prefix)
        .env("SHMPIPE_LIBRARIES", libraries())
        .status();
    assert!(status.unwrap().success());
    let config = prefix.join("lib/pkgconfig");
    let flags = |more: &str| {
        let mut config_tool = Command::new("pkg-config");
        let output = config_tool.args(["--cflags", "--libs", more, "shmpipe"]);
        let output = output.env("PKG_CONFIG_PATH", &config).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let listed = text(&output.stdout);
        listed
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let program = folder.0.join("installed");
    let source = package().join("tests/c/checks.c");
    let mut gcc = Command::new("gcc");
    gcc.arg(&source)
        .arg("-pthread")
        .arg("-o")
        .arg(&program)
        .args(flags("--print-errors"));
    assert!(gcc.status().unwrap().success());
    let mut timeout = Command::new("timeout");
    let ran = timeout.arg("120").arg(&program).arg(&ring);
    let ran = ran
        .env("LD_LIBRARY_PATH", prefix.join("lib"))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", text(&ran.stderr));
}
