//! What the sweep has found, by name.

use crate::subjects;
use crate::sweep::try_each;

#[test]
fn what_cannot_be_looked_at_or_removed_is_no_success_of_removing_what_is_stale() {
    try_each(
        "mended::what_cannot_be_looked_at_or_removed_is_no_success_of_removing_what_is_stale",
        &[
            "remove-stale shmat ENOMEM 0 once",
            "remove-stale shmat ENOMEM 2 once",
            "remove-stale shmctl-stat ENOMEM 1 on",
            "remove-stale shmctl-rmid EFAULT 0 once",
        ],
        subjects,
    );
}

#[test]
fn what_mmap_and_munmap_refuse_is_not_taken_for_the_segments_nature() {
    try_each(
        "mended::what_mmap_and_munmap_refuse_is_not_taken_for_the_segments_nature",
        &[
            "remove-stale mmap EPERM 0 once",
            "remove-stale munmap ENOMEM 0 on",
            "remove-stale munmap ENOMEM 1 once",
        ],
        subjects,
    );
}
