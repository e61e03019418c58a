//! Rings that this build cannot use: the command says why, and does not touch them.

use crate::common::offsets::REQUIRED;
use crate::common::{Segment, TempPath, bytes_of, options, poke};
use crate::running::{CORRUPT, FAILURE, Running};

#[test]
fn a_ring_of_another_format_is_refused_with_what_differs() {
    let swapped = 0x0403_0201_u32.to_ne_bytes();
    // As of a peer whose words have 32 bits: capacity and ring offset side by side.
    let narrow = (4096_u64 | 4096 << 32).to_ne_bytes();
    let forged: [(&str, usize, &[u8]); 6] = [
        ("layout version 1, and", 8, &1_u32.to_ne_bytes()),
        ("layout version 3, and", 8, &3_u32.to_ne_bytes()),
        ("made with the other byte order", 12, &swapped),
        ("line size 64 bytes, and", 16, &64_u32.to_ne_bytes()),
        ("bits 0x80000000", REQUIRED, &(1_u32 << 31).to_ne_bytes()),
        ("its header says", 24, &narrow),
    ];
    for (what, offset, bytes) in forged {
        let path = TempPath::new();
        let mut options = options();
        options.persistent(true).capacity(4096);
        let id = options.open_consumer(&path).unwrap().id().unwrap();
        let _goes = Segment { id }; // also if the test fails
        let good = bytes_of(id)[offset..offset + bytes.len()].to_vec();
        poke(id, offset, bytes);
        let before = bytes_of(id);
        for verb in ["recv", "send"] {
            let ended = Running::verb(verb, &path, &["--persist"]).end();
            // Of sizes that do not fit together, the command cannot say which peer made them.
            let code = if offset == 24 { CORRUPT } else { FAILURE };
            ended.with(code, what);
        }
        assert!(bytes_of(id) == before, "it was written to: {what}");
        assert_eq!(path.segment(), Some(id), "{what}");
        poke(id, offset, &good); // for its removal
    }
}
