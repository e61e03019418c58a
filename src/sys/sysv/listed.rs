//! Facts from `/proc/sysvipc/shm`. `IPC_STAT` lacks some of them, and refuses the others to a
//! process that may not read the segment.

#![deny(unsafe_code)]

use super::{Mode, SegmentId};

/// The owner and the mode of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) uid: u32,
    pub(crate) creator_uid: u32,
    pub(crate) mode: Mode,
}

/// The line of `/proc/sysvipc/shm` about a segment, which anybody may read. Returns `None` without
/// such a line or without `/proc`. For messages only: the id may be another segment's by now.
///
/// See [proc_sysvipc(5)](https://man7.org/linux/man-pages/man5/proc_sysvipc.5.html).
pub(crate) fn listed(id: SegmentId) -> Option<Listed> {
    listed_in(&std::fs::read_to_string("/proc/sysvipc/shm").ok()?, id)
}

/// Parses the text of that file.
fn listed_in(text: &str, id: SegmentId) -> Option<Listed> {
    let [uid, creator_uid, mode] = columns(text, id, ["uid", "cuid", "perms"])?;
    Some(Listed {
        uid: uid.parse().ok()?,
        creator_uid: creator_uid.parse().ok()?,
        mode: Mode::truncate(u32::from_str_radix(mode, 8).ok()?),
    })
}

/// The words in the `wanted` columns of a segment's line. The first line names the columns.
fn columns<'a, const N: usize>(
    text: &'a str,
    id: SegmentId,
    wanted: [&str; N],
) -> Option<[&'a str; N]> {
    let mut lines = text.lines().map(|line| line.split_whitespace());
    let names: Vec<&str> = lines.next()?.collect();
    let column = |name| names.iter().position(|&found| found == name);
    let of_id = column("shmid")?;
    let line = lines
        .map(Iterator::collect::<Vec<&str>>)
        .find(|words| words.get(of_id).and_then(|word| word.parse().ok()) == Some(id))?;
    let mut found = [""; N];
    for (word, name) in found.iter_mut().zip(wanted) {
        *word = line.get(column(name)?)?;
    }
    Some(found)
}

/// Bytes of a segment in memory, and in swap space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) in_memory: u64,
    pub(crate) swapped: u64,
}

/// The bytes of a segment in memory and in swap space. Returns `None` where `/proc` does not say.
///
/// See [proc_sysvipc(5)](https://man7.org/linux/man-pages/man5/proc_sysvipc.5.html).
pub(crate) fn resident(id: SegmentId) -> Option<Resident> {
    let text = std::fs::read_to_string("/proc/sysvipc/shm").ok()?;
    let [in_memory, swapped] = columns(&text, id, ["rss", "swap"])?;
    Some(Resident {
        in_memory: in_memory.parse().ok()?,
        swapped: swapped.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_segment_is_found() {
        let text = "\
       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid\n\
         0          3  1600                  4096   100   101      2  1000   100  1001   100\n\
  17104896         33   640                  8192   200   201      0     0     0     0     0\n";
        let of = |id| listed_in(text, SegmentId::from_raw(id).unwrap());
        let mode = |bits| Mode::new(bits).unwrap();
        let (uid, creator_uid, bits) = (1000, 1001, mode(0o600));
        let marked = Listed {
            uid,
            creator_uid,
            mode: bits,
        };
        assert_eq!(of(3), Some(marked));
        let of_root = Listed {
            uid: 0,
            creator_uid: 0,
            mode: mode(0o640),
        };
        assert_eq!(of(33), Some(of_root));
        assert_eq!(of(4), None);
        assert_eq!(listed_in("", SegmentId::from_raw(3).unwrap()), None);
    }

    #[test]
    fn the_listed_facts_are_those_of_stat() {
        let id = super::super::create(None, 4096, Mode::OWNER_ONLY).unwrap();
        let (listed, stat) = (listed(id), super::super::stat(id).unwrap());
        super::super::remove(id).unwrap();
        let expected = Listed {
            uid: stat.uid,
            creator_uid: stat.creator_uid,
            mode: stat.mode,
        };
        assert_eq!(listed, Some(expected));
    }
}
