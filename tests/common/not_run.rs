//! What a test cannot test here, for whoever reads the results.
#![allow(dead_code)] // each test binary uses a part

use std::fs::OpenOptions;
use std::io::Write;

/// Names the test that runs in a process of its own.
pub(crate) const MARK: &str = "SHMPIPE_TEST_ALONE";

/// Says that the calling test, or a part of it, is not run, also to `.ci/not-run`.
pub(crate) fn not_run(why: &str) {
    // A test that runs alone has no thread of its own.
    let named = std::env::var(MARK).ok();
    let named = named.or_else(|| std::thread::current().name().map(str::to_owned));
    case_not_run(named.as_deref().unwrap_or("a test"), why);
}

/// As [`not_run`], for what is no test by itself.
pub(crate) fn case_not_run(case: &str, why: &str) {
    let line = format!("{case}: {why}\n");
    print!("not run: {line}");
    if let Some(list) = std::env::var_os("SHMPIPE_NOT_RUN") {
        let file = OpenOptions::new().append(true).create(true).open(list);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes())); // it was said already
    }
}
