//! Compiles the queues of C++, with the feature `cpp`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cpp")]
    cpp::compile();
}

#[cfg(feature = "cpp")]
mod cpp {
    use std::path::Path;

    const SOURCE: &str = "cpp/queues.cpp";
    /// Each header, and Debian's package of it.
    const HEADERS: [(&str, &str); 3] = [
        ("boost/lockfree/spsc_queue.hpp", "libboost-dev"),
        (
            "readerwriterqueue/readerwriterqueue.h",
            "libreaderwriterqueue-dev",
        ),
        ("atomic_queue/atomic_queue.h", "libatomic-queue-dev"),
    ];

    pub(crate) fn compile() {
        println!("cargo::rerun-if-changed={SOURCE}");
        let mut is_complete = true;
        for (header, package) in HEADERS {
            if !exists(header) {
                is_complete = false;
                println!(
                    "cargo::error=the feature cpp needs <{header}> and a C++ compiler: on Debian, \
                     apt-get install {package} g++"
                );
            }
        }
        if is_complete {
            let mut build = build();
            build.file(SOURCE).compile("peers_queues");
        }
    }

    fn build() -> cc::Build {
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").define("NDEBUG", None);
        build
    }

    /// Whether the compiler finds the header.
    fn exists(header: &str) -> bool {
        let folder = std::env::var("OUT_DIR").expect("cargo sets it");
        let file = Path::new(&folder).join("header.cpp");
        std::fs::write(&file, format!("#include <{header}>\n")).expect("a file of ours");
        let mut build = build();
        build.cargo_warnings(false).file(file).try_expand().is_ok()
    }
}
