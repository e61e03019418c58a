//! Rings that this build cannot use: the command says why, and does not touch them.

use crate::common::forged::each_forged;
use crate::running::{CORRUPT, FAILURE, Running};

#[test]
fn a_ring_of_another_format_is_refused_with_what_differs() {
    each_forged(|what, path| {
        let words = match what {
            "version 1" => "layout version 1, and",
            "version 3" => "layout version 3, and",
            "line size" => "line size 64 bytes, and",
            "features" => "bits 0x80000000",
            "sizes" => "its header says",
            _ => "made with the other byte order",
        };
        for verb in ["recv", "send"] {
            let ended = Running::verb(verb, path, &["--persist"]).end();
            // Of sizes that do not fit together, the command cannot say which peer made them.
            let code = if what == "sizes" { CORRUPT } else { FAILURE };
            ended.with(code, words);
        }
    });
}
