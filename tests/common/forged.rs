//! Headers that no build of this version may use, or write to.

use super::offsets::REQUIRED;
use super::{Segment, TempPath, bytes_of, options, poke};

/// Shows a persistent ring with each such header to `refuse`, which gets the name of what is
/// wrong. Checks that the segment is then as it was.
pub(crate) fn each_forged(mut refuse: impl FnMut(&str, &TempPath)) {
    let swapped = 0x0403_0201_u32.to_ne_bytes();
    // As of a peer whose words have 32 bits: capacity and ring offset side by side.
    let narrow = (4096_u64 | 4096 << 32).to_ne_bytes();
    let foreign = [2_u32, 0x0102_0304, 128, 3].map(|word| word.swap_bytes().to_ne_bytes());
    let forged: [(&str, usize, &[u8]); 7] = [
        ("version 1", 8, &1_u32.to_ne_bytes()),
        ("version 3", 8, &3_u32.to_ne_bytes()),
        ("byte order", 12, &swapped),
        ("byte order of all words", 8, foreign.as_flattened()),
        ("line size", 16, &64_u32.to_ne_bytes()),
        ("features", REQUIRED, &(1_u32 << 31).to_ne_bytes()),
        ("sizes", 24, &narrow),
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
        refuse(what, &path);
        assert!(bytes_of(id) == before, "it was written to: {what}");
        assert_eq!(path.segment(), Some(id), "{what}");
        poke(id, offset, &good); // for its removal
    }
}
