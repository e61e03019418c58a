//! The life-cycle word: one u64 with the state of the ring and of both roles. Pairing, the last
//! drop and reclaiming are each one compare-and-swap of this word, so exactly one process wins.
//!
//! ```text
//! bit 63        48 47         32 31         16 15    12 11    8 7      0
//!    | reserved   | consumer gen | producer gen | consumer | producer | life |
//! ```
//!
//! A *generation* counts the claims of a role. It exceeds 1 only in a ring whose roles pass from
//! process to process ([`LifeCycleKind::persists`]). All functions here are pure. Each transition
//! maps a word to the next one, or says why there is none.

use crate::role::Role;

/// The public `LifeCycle` plus [`Placed`](LifeCycleKind::Placed): how a ring is found, and when its
/// segment is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LifeCycleKind {
    /// Without a key: found by fork or by id. Removed at birth.
    Anonymous,
    /// Found by key until both roles are claimed, then removed.
    Named,
    /// Found by key until it is removed on purpose.
    Persistent,
    /// In the caller's memory, found and removed by the caller's means.
    Placed,
}

impl LifeCycleKind {
    pub(crate) fn to_bits(self) -> u32 {
        match self {
            LifeCycleKind::Anonymous => 1,
            LifeCycleKind::Named => 2,
            LifeCycleKind::Persistent => 3,
            LifeCycleKind::Placed => 4,
        }
    }

    pub(crate) fn from_bits(bits: u32) -> Option<LifeCycleKind> {
        match bits {
            1 => Some(LifeCycleKind::Anonymous),
            2 => Some(LifeCycleKind::Named),
            3 => Some(LifeCycleKind::Persistent),
            4 => Some(LifeCycleKind::Placed),
            _ => None,
        }
    }

    /// Whether the ring outlives its processes, so that each role can be claimed repeatedly.
    pub(crate) fn persists(self) -> bool {
        matches!(self, LifeCycleKind::Persistent | LifeCycleKind::Placed)
    }
}

/// The state of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Not ready: the creator is still filling the header.
    Unborn,
    /// Ready: a role can be claimed.
    Open,
    /// Both roles have been claimed. Final for a ring that does not persist.
    Paired,
    /// Replaced by a ring of the capacity that an opener asked for.
    Replaced,
    /// About to be removed: nobody may join.
    Removed,
}

/// The state of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// Nobody holds the role.
    Free,
    /// A process holds the role.
    Held,
    /// The holder left and nobody can follow.
    Left,
    /// The peer has proven the holder dead.
    Lost,
}

/// Why a role cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The role is held, or was held and cannot be claimed again.
    Taken,
    /// The ring is not open yet, or no longer open.
    Gone,
}

/// A value of the life-cycle word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(pub(crate) u64);

impl State {
    const LIFE: u64 = 0xff;
    const TENURE: u64 = 0xf;
    const GENERATION: u64 = 0xffff;

    /// The word of a ring that has just become ready.
    pub(crate) const OPEN: State = State(1);

    pub(crate) fn life(self) -> Option<Life> {
        match self.0 & Self::LIFE {
            0 => Some(Life::Unborn),
            1 => Some(Life::Open),
            2 => Some(Life::Paired),
            3 => Some(Life::Replaced),
            4 => Some(Life::Removed),
            _ => None,
        }
    }

    fn with_life(self, life: Life) -> State {
        let bits = match life {
            Life::Unborn => 0,
            Life::Open => 1,
            Life::Paired => 2,
            Life::Replaced => 3,
            Life::Removed => 4,
        };
        State(self.0 & !Self::LIFE | bits)
    }

    fn tenure_shift(role: Role) -> u32 {
        match role {
            Role::Producer => 8,
            Role::Consumer => 12,
        }
    }

    pub(crate) fn tenure(self, role: Role) -> Option<Tenure> {
        match self.0 >> Self::tenure_shift(role) & Self::TENURE {
            0 => Some(Tenure::Free),
            1 => Some(Tenure::Held),
            2 => Some(Tenure::Left),
            3 => Some(Tenure::Lost),
            _ => None,
        }
    }

    fn with_tenure(self, role: Role, tenure: Tenure) -> State {
        let bits = match tenure {
            Tenure::Free => 0,
            Tenure::Held => 1,
            Tenure::Left => 2,
            Tenure::Lost => 3,
        };
        let shift = Self::tenure_shift(role);
        State(self.0 & !(Self::TENURE << shift) | bits << shift)
    }

    fn generation_shift(role: Role) -> u32 {
        match role {
            Role::Producer => 16,
            Role::Consumer => 32,
        }
    }

    /// How often `role` has been claimed, modulo 2^16.
    pub(crate) fn generation(self, role: Role) -> u16 {
        (self.0 >> Self::generation_shift(role) & Self::GENERATION) as u16
    }

    /// The generation that the next claim of `role` gets. Never zero, so that a word made from a
    /// generation differs from a word never written.
    pub(crate) fn next_generation(self, role: Role) -> u16 {
        self.generation(role).wrapping_add(1).max(1)
    }

    fn with_generation(self, role: Role, generation: u16) -> State {
        let shift = Self::generation_shift(role);
        State(self.0 & !(Self::GENERATION << shift) | u64::from(generation) << shift)
    }

    /// This word with `role` held by the holder of this generation.
    pub(crate) fn with_holder(self, role: Role, generation: u16) -> State {
        self.with_tenure(role, Tenure::Held)
            .with_generation(role, generation)
    }

    /// Claims `role`. `dead` means that the role's present holder is proven dead.
    pub(crate) fn claim(
        self,
        role: Role,
        kind: LifeCycleKind,
        dead: bool,
    ) -> Result<State, Refusal> {
        match self.life() {
            Some(Life::Open | Life::Paired) => {}
            _ => return Err(Refusal::Gone),
        }
        match self.tenure(role) {
            Some(Tenure::Free | Tenure::Lost) => {}
            Some(Tenure::Held) if dead && kind.persists() => {}
            _ => return Err(Refusal::Taken),
        }
        let next = self.with_holder(role, self.next_generation(role));
        let peer_came = self.generation(role.peer()) != 0;
        Ok(if peer_came && !kind.persists() {
            next.with_life(Life::Paired)
        } else {
            next
        })
    }

    /// The holder of `role` leaves. If nobody has joined a named ring, the ring is removed with its
    /// holder.
    pub(crate) fn leave(self, role: Role, kind: LifeCycleKind) -> State {
        let after = if kind.persists() {
            Tenure::Free
        } else {
            Tenure::Left
        };
        let next = self.with_tenure(role, after);
        if kind == LifeCycleKind::Named && self.life() == Some(Life::Open) {
            next.with_life(Life::Removed)
        } else {
            next
        }
    }

    /// Declares the holder of `role` dead, in the generation of this word. Returns `None` if the
    /// role has no holder.
    pub(crate) fn lose(self, role: Role) -> Option<State> {
        (self.tenure(role) == Some(Tenure::Held)).then(|| self.with_tenure(role, Tenure::Lost))
    }

    /// Replaces an unpaired ring, because an opener wants another capacity.
    pub(crate) fn replace(self) -> Option<State> {
        (self.life() == Some(Life::Open)).then(|| self.with_life(Life::Replaced))
    }

    /// Marks the ring as removed: nobody may join any more.
    pub(crate) fn remove(self) -> State {
        self.with_life(Life::Removed)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("life", &self.life())
            .field("producer", &self.tenure(Role::Producer))
            .field("consumer", &self.tenure(Role::Consumer))
            .field("bits", &format_args!("{:#x}", self.0))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [LifeCycleKind; 4] = [
        LifeCycleKind::Anonymous,
        LifeCycleKind::Named,
        LifeCycleKind::Persistent,
        LifeCycleKind::Placed,
    ];
    const ROLES: [Role; 2] = [Role::Producer, Role::Consumer];

    #[test]
    fn two_claims_pair_a_ring_that_does_not_persist() {
        for kind in KINDS {
            for role in ROLES {
                let one = State::OPEN.claim(role, kind, false).unwrap();
                assert_eq!(one.life(), Some(Life::Open));
                let two = one.claim(role.peer(), kind, false).unwrap();
                let expected = match kind {
                    LifeCycleKind::Persistent | LifeCycleKind::Placed => Life::Open,
                    LifeCycleKind::Anonymous | LifeCycleKind::Named => Life::Paired,
                };
                assert_eq!(two.life(), Some(expected));
                for role in ROLES {
                    assert_eq!(two.tenure(role), Some(Tenure::Held));
                    assert_eq!(two.generation(role), 1);
                    assert_eq!(two.claim(role, kind, false), Err(Refusal::Taken));
                }
            }
        }
    }

    #[test]
    fn only_a_persistent_role_is_taken_from_the_dead() {
        for role in ROLES {
            for kind in KINDS {
                let held = State::OPEN.claim(role, kind, false).unwrap();
                let taken = held.claim(role, kind, true);
                match kind {
                    LifeCycleKind::Persistent | LifeCycleKind::Placed => {
                        assert_eq!(taken.unwrap().generation(role), 2);
                    }
                    LifeCycleKind::Anonymous | LifeCycleKind::Named => {
                        assert_eq!(taken, Err(Refusal::Taken))
                    }
                }
            }
        }
    }

    #[test]
    fn a_named_ring_nobody_joined_goes_with_its_holder() {
        let alone = State::OPEN
            .claim(Role::Producer, LifeCycleKind::Named, false)
            .unwrap();
        let left = alone.leave(Role::Producer, LifeCycleKind::Named);
        assert_eq!(left.life(), Some(Life::Removed));
        assert_eq!(
            left.claim(Role::Consumer, LifeCycleKind::Named, false),
            Err(Refusal::Gone)
        );
    }

    #[test]
    fn an_anonymous_ring_can_be_joined_after_one_side_has_left() {
        let alone = State::OPEN
            .claim(Role::Producer, LifeCycleKind::Anonymous, false)
            .unwrap();
        let left = alone.leave(Role::Producer, LifeCycleKind::Anonymous);
        let joined = left
            .claim(Role::Consumer, LifeCycleKind::Anonymous, false)
            .unwrap();
        assert_eq!(joined.life(), Some(Life::Paired));
        assert_eq!(joined.tenure(Role::Producer), Some(Tenure::Left));
        assert_eq!(
            joined.claim(Role::Producer, LifeCycleKind::Anonymous, false),
            Err(Refusal::Taken)
        );
    }

    #[test]
    fn a_persistent_role_is_free_again_once_left() {
        let held = State::OPEN
            .claim(Role::Consumer, LifeCycleKind::Persistent, false)
            .unwrap();
        let left = held.leave(Role::Consumer, LifeCycleKind::Persistent);
        assert_eq!(left.tenure(Role::Consumer), Some(Tenure::Free));
        let again = left
            .claim(Role::Consumer, LifeCycleKind::Persistent, false)
            .unwrap();
        assert_eq!(again.generation(Role::Consumer), 2);
    }

    #[test]
    fn generations_wrap_past_zero() {
        let worn = State::OPEN.with_generation(Role::Producer, u16::MAX);
        assert_eq!(worn.next_generation(Role::Producer), 1);
    }

    #[test]
    fn a_removed_or_replaced_ring_takes_nobody() {
        for gone in [
            State::OPEN.remove(),
            State::OPEN.replace().unwrap(),
            State(0),
            State(0x77),
        ] {
            for role in ROLES {
                assert_eq!(
                    gone.claim(role, LifeCycleKind::Persistent, true),
                    Err(Refusal::Gone)
                );
            }
        }
        assert_eq!(State::OPEN.remove().replace(), None);
    }
}
