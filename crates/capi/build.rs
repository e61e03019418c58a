//! Gives the shared object its name in programs (SONAME), and keeps it loaded.

fn main() {
    // The number rises when a change breaks programs that were linked before.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libshmpipe.so.0");
    // A thread of the library may still run after dlclose(3), and so may its fork handlers.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}
