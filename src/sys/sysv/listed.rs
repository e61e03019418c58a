//! What `/proc/sysvipc/shm` says of a segment: facts that `IPC_STAT` lacks, or refuses by the mode.

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

/// Parses the text of that file, whose first line names the columns.
fn listed_in(text: &str, id: SegmentId) -> Option<Listed> {
    let mut lines = text.lines().map(|line| line.split_whitespace());
    let names: Vec<&str> = lines.next()?.collect();
    let column = |name| names.iter().position(|&found| found == name);
    let (of_id, of_mode) = (column("shmid")?, column("perms")?);
    let (of_uid, of_creator) = (column("uid")?, column("cuid")?);
    let line = lines
        .map(Iterator::collect::<Vec<&str>>)
        .find(|words| words.get(of_id).and_then(|word| word.parse().ok()) == Some(id))?;
    Some(Listed {
        uid: line.get(of_uid)?.parse().ok()?,
        creator_uid: line.get(of_creator)?.parse().ok()?,
        mode: Mode::truncate(u32::from_str_radix(line.get(of_mode)?, 8).ok()?),
    })
}

/// Bytes of a segment in memory, and in swap space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) in_memory: u64,
    pub(crate) swapped: u64,
}

/// The bytes of a segment in memory and in swap space. Returns `None` where `/proc` does not say.
///
/// See [proc_sysvipc_shm(5)](https://man7.org/linux/man-pages/man5/proc_sysvipc.5.html).
pub(crate) fn resident(id: SegmentId) -> Option<Resident> {
    resident_in(&std::fs::read_to_string("/proc/sysvipc/shm").ok()?, id)
}

/// Parses the text of that file, whose first line names the columns.
fn resident_in(text: &str, id: SegmentId) -> Option<Resident> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_whitespace().collect();
    let column = |name| names.iter().position(|&found| found == name);
    let (of_id, rss, swap) = (column("shmid")?, column("rss")?, column("swap")?);
    let id = id.to_string();
    lines.find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |column: usize| words.get(column)?.parse().ok();
        (words.get(of_id) == Some(&id.as_str())).then_some(())?;
        Some(Resident {
            in_memory: number(rss)?,
            swapped: number(swap)?,
        })
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
    fn the_kernel_lists_as_it_answers() {
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
