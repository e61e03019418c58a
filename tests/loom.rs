//! The models of `src/models`, run by loom:
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom
//! ```
#![cfg(loom)]

macro_rules! run {
    ($($file:ident: $($model:ident)*;)*) => {$(
        mod $file {
            $(#[test]
            fn $model() {
                shmpipe::models::$file::$model();
            })*
        }
    )*};
}

run! {
    ring:
        bytes_come_before_the_tail
        bytes_are_read_before_their_room_is_used
        bytes_in_place_are_one_sides_at_a_time
        spans_are_whole
        the_last_bytes_come_before_the_end
        the_last_bytes_come_before_the_writer_has_left
        the_last_room_comes_before_the_reader_has_left
        a_snapshot_shows_one_moment
        a_writer_takes_over
        a_writer_takes_over_the_room
        a_reader_takes_over;
    inline:
        an_inline_message_is_whole
        a_long_inline_message_is_whole
        what_is_not_one_message_comes_from_the_ring
        the_inline_message_of_a_dead_writer_is_not_read;
    marks:
        a_mark_is_found_at_its_place
        a_mark_at_a_known_tail_is_found
        the_dead_are_broken_off_before_the_next_bytes
        a_writer_that_resumes_leaves_no_mark
        the_dead_writer_is_named
        no_message_is_taken_across_a_mark
        an_inline_message_is_taken_only_from_a_writer_that_knows_them
        a_place_is_used_again_after_the_reader_has_done_with_it
        places_are_used_again
        a_role_can_be_claimed_once_there_are_places
        an_acknowledgement_wakes_waiting_openers
        the_next_consumer_gets_what_was_not_acknowledged;
    wait:
        a_byte_in_either_ring_wakes_a_set
        a_wake_after_a_blocking_wait_reaches_the_reactor
        a_byte_wakes_the_reader
        room_wakes_the_writer
        the_end_wakes_the_reader
        a_leaving_reader_wakes_the_writer
        a_wanted_position_is_woken_for
        an_earlier_wanted_position_is_not_used
        a_stream_through_one_byte
        a_sleep_that_ends_early_loses_nothing
        joining_wakes_a_waiting_opener;
    peer:
        one_of_several_claimers_wins
        one_claimer_takes_over
        declaring_a_death_takes_nothing_from_a_successor
        a_successor_comes_after_its_predecessor
        a_slow_claimer_comes_after_one_that_came_and_went
        an_owner_word_has_the_generation_of_its_claim
        a_transition_comes_after_the_last
        a_record_is_of_one_holder
        a_record_taken_over_is_of_one_holder
        a_held_role_is_refused;
    life:
        an_open_ring_has_its_identity
        a_claimed_ring_has_its_identity
        the_magic_comes_first
        the_life_of_an_old_ring_ends_first
        two_claims_pair_a_ring_once
        giving_up_and_joining_exclude_each_other
        reclaiming_and_claiming_exclude_each_other
        both_sides_leave;
}
