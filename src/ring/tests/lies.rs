//! A peer that stores any word, at any time: every result stays within bounds.

use super::*;

/// A word that a lying peer stores.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Position(Role, u64),
    /// A position at this distance from the other side's.
    Near(Role, u64),
    Closed(Role, u64),
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Lie(Lie),
    Write(usize),
    Read(usize),
    AskWriter(u64),
    AskReader(u64),
}

fn lie() -> impl Strategy<Value = Lie> {
    let role = || prop::sample::select(vec![Role::Producer, Role::Consumer]);
    prop_oneof![
        (role(), any::<u64>()).prop_map(|(role, word)| Lie::Position(role, word)),
        (role(), 0u64..70).prop_map(|(role, by)| Lie::Near(role, by.wrapping_sub(3))),
        (role(), prop_oneof![0u64..4, 0x100u64..0x104, any::<u64>()])
            .prop_map(|(role, word)| Lie::Closed(role, word)),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        lie().prop_map(Act::Lie),
        (0usize..100).prop_map(Act::Write),
        (0usize..100).prop_map(Act::Read),
        (0u64..100).prop_map(Act::AskWriter),
        (0u64..100).prop_map(Act::AskReader),
    ]
}

impl Lie {
    fn tell(self, region: &HeapRegion) {
        let position = |role| {
            let side = region.header().side(role);
            side.position.load(Ordering::Relaxed) // one thread
        };
        match self {
            Lie::Position(role, word) => set_position(region, role, word),
            Lie::Near(Role::Producer, by) => {
                set_position(
                    region,
                    Role::Producer,
                    position(Role::Consumer).wrapping_add(by),
                );
            }
            Lie::Near(Role::Consumer, by) => {
                set_position(
                    region,
                    Role::Consumer,
                    position(Role::Producer).wrapping_sub(by),
                );
            }
            Lie::Closed(role, word) => {
                let signals = &region.header().side(role).signals;
                signals.closed.store(word, Ordering::Relaxed); // one thread
            }
        }
    }
}

/// Checks that the result is within bounds, or is a corruption whose two numbers differ.
fn within(result: Result<u64, Corruption>, most: u64) {
    match result {
        Ok(amount) => assert!(amount <= most, "{amount} of {most}"),
        Err(corruption) => assert_ne!(corruption.found(), corruption.against(), "{corruption}"),
    }
}

proptest! {
    /// The region panics at a span longer than itself.
    #[test]
    fn no_lie_leads_outside(
        start in starts(),
        shift in 0u32..7,
        before in prop::collection::vec(lie(), 0..3),
        acts in prop::collection::vec(act(), 1..if cfg!(miri) { 12 } else { 200 }),
    ) {
        let capacity = 1u64 << shift;
        let region = HeapRegion::new(1 << shift, start);
        before.iter().for_each(|lie| lie.tell(&region));
        let mut writer = Writer::new(region.clone(), false, Departures::End);
        let mut reader = Reader::new(region.clone(), false);
        for act in acts {
            match (act, &mut writer, &mut reader) {
                (Act::Lie(lie), ..) => lie.tell(&region),
                (Act::Write(len), Ok(writer), _) => {
                    let written = writer.write(&vec![7; len]);
                    within(written.map(|len| len as u64), capacity.min(len as u64));
                }
                (Act::Read(len), _, Ok(reader)) => {
                    let read = reader.read(&mut vec![0; len]);
                    within(read.map(|len| len as u64), capacity.min(len as u64));
                }
                (Act::AskWriter(wanted), Ok(writer), _) => {
                    within(writer.room(wanted), capacity);
                    within(writer.unread().map(|len| len as u64), capacity);
                    within(writer.peer_departure().map(|_| 0), 0);
                }
                (Act::AskReader(wanted), _, Ok(reader)) => {
                    within(reader.available(wanted), capacity);
                    within(reader.readiness(wanted).map(|_| 0), 0);
                    within(reader.peer_departure().map(|_| 0), 0);
                }
                _ => {} // a side that could not be opened
            }
        }
    }
}
