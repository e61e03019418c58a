//! Finds out whether spinning can help. It cannot if the peer needs the caller's processor.
#![allow(unsafe_code)] // the only caller of sched_getaffinity

/// Whether this process and the process `peer` are confined to the same single processor. Unknown
/// counts as no.
///
/// The caller's own affinity alone does not decide: spinning still helps a pinned process whose
/// peer runs on another processor. <https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html>
pub(crate) fn share_one_processor(peer: Option<u32>) -> bool {
    let Some(own) = affinity(0) else {
        return false;
    };
    let usable = own.iter().map(|word| word.count_ones()).sum::<u32>();
    match peer {
        Some(pid) if usable == 1 => affinity(pid) == Some(own),
        _ => false,
    }
}

/// The processors that `pid` may use; 0 means the caller.
fn affinity(pid: u32) -> Option<[u64; 16]> {
    let pid = libc::pid_t::try_from(pid).ok()?;
    let mut set = [0u64; 16];
    // SAFETY: `set` is plain integers, and as long as the given size. The kernel writes no more
    // than that.
    let done = unsafe { libc::sched_getaffinity(pid, size_of_val(&set), set.as_mut_ptr().cast()) };
    (done == 0).then_some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_shares_its_affinity_with_itself() {
        assert_eq!(affinity(0), affinity(std::process::id()));
        assert!(affinity(0).is_some_and(|set| set.iter().any(|&word| word != 0)));
        assert_eq!(affinity(u32::MAX), None);
    }
}
