//! `shmpipe rm`: removes rings, and only rings.
//!
//! The verb catches no signals, and so dies of them at once. The kernel then ends its locks and
//! attachments.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use shmpipe::error::Incompatible;
use shmpipe::escape::shown;
use shmpipe::sysv::{self, SegmentId, SysvErrorKind};
use shmpipe::{Occupant, OpenError, Options, RemoveError, Snapshot, User};

use crate::args::{RmArgs, RmTarget};
use crate::exit::Failure;
use crate::rings::{Segment, has_no_file, holder, is_of_path, no_ring, survey, user_name};

/// How long only processes without a role may have a ring attached before it counts as in use.
/// `ls` and `top` attach each ring for a moment.
const LOOKING: Duration = Duration::from_secs(1);
/// The pause between two tries meanwhile.
const PAUSE: Duration = Duration::from_millis(5);

/// How a ring in use can be removed all the same.
const BY_FORCE: &str = " (--force removes it)";

pub(crate) fn run(args: &RmArgs) -> Result<(), Failure> {
    if let Some(owner) = args.owner {
        become_user(owner)?;
    }
    match &args.target {
        RmTarget {
            path: Some(path), ..
        } => remove_by_path(path, args),
        RmTarget { id: Some(id), .. } => {
            let name = format!("segment {id}");
            if args.dry_run {
                let ring = unobserved(|| Snapshot::of(*id))
                    .map_err(|error| explained(&name, error.into(), BY_FORCE))?;
                return would_remove(&name, &ring, args.force);
            }
            let removed = match args.force {
                true => shmpipe::force_remove(*id),
                false => remove(*id),
            };
            removed.map_err(|error| explained(&name, error, BY_FORCE))?;
            say(format_args!("removed {name}"))
        }
        _ if args.dry_run || args.older_than.is_some() => remove_some(args),
        _ => {
            for id in shmpipe::remove_stale()? {
                say(format_args!("removed segment {id}"))?;
            }
            Ok(())
        }
    }
}

fn remove_by_path(path: &Path, args: &RmArgs) -> Result<(), Failure> {
    let name = match args.project {
        1 => format!("the ring of {}", shown(path)),
        project => format!("the ring of {} with project id {project}", shown(path)),
    };
    let failed = |error: RemoveError| {
        let unfound = unfound(&name, path, args.project, &error);
        unfound.unwrap_or_else(|| explained(&name, error, BY_FORCE))
    };
    let mut options = Options::new();
    options.project(args.project);
    if args.dry_run {
        let ring = unobserved(|| options.snapshot(path)).map_err(|error| failed(error.into()))?;
        return would_remove(&name, &ring, args.force);
    }
    let removed = match args.force {
        true => options.force_remove(path),
        false => unobserved_removal(|| options.remove(path)),
    };
    removed.map_err(failed)?;
    say(format_args!("removed {name}"))
}

/// Removes a ring that nobody uses, even if somebody looks at it.
pub(crate) fn remove(id: SegmentId) -> Result<(), RemoveError> {
    unobserved_removal(|| shmpipe::remove(id))
}

/// Tries again for a moment while only processes without a role have the ring attached.
fn unobserved_removal(remove: impl FnMut() -> Result<(), RemoveError>) -> Result<(), RemoveError> {
    outlast_looks(remove, |removed| {
        matches!(
            removed,
            Err(RemoveError::InUse {
                by: User::Others { .. },
                ..
            })
        )
    })
}

/// Looks again for a moment, as [`unobserved_removal`] tries again.
fn unobserved(look: impl FnMut() -> Result<Snapshot, OpenError>) -> Result<Snapshot, OpenError> {
    outlast_looks(look, |looked| {
        let ring = looked.as_ref();
        ring.is_ok_and(|ring| ring.attached > 0 && users_of(ring).is_empty())
    })
}

/// The answer of `ask`. Asks again, for [`LOOKING`] at most, while the answer is that others look.
fn outlast_looks<T>(mut ask: impl FnMut() -> T, others_look: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    loop {
        let answer = ask();
        if !others_look(&answer) || start.elapsed() >= LOOKING {
            return answer;
        }
        thread::sleep(PAUSE);
    }
}

/// Takes on the user and the groups of `owner`, for good. So root removes what `owner` may remove,
/// and nothing else. This process has one thread.
fn become_user(owner: u32) -> Result<(), Failure> {
    if geteuid().as_raw() == owner {
        return Ok(());
    }
    let become_it = || -> io::Result<()> {
        let uid = Uid::from_raw(owner);
        let user = uzers::get_user_by_uid(owner);
        let groups = user
            .as_ref()
            .and_then(|user| uzers::get_user_groups(user.name(), user.primary_group_id()));
        let groups = groups.unwrap_or_default();
        let groups: Vec<Gid> = groups
            .iter()
            .map(|group| Gid::from_raw(group.gid()))
            .collect();
        set_thread_groups(&groups)?;
        if let Some(user) = user {
            let gid = Gid::from_raw(user.primary_group_id());
            set_thread_res_gid(gid, gid, gid)?;
        }
        Ok(set_thread_res_uid(uid, uid, uid)?)
    };
    become_it().map_err(|error| {
        let name = user_name(owner);
        Failure::io(format_args!("only root can act for {name}"), &error)
    })
}

/// Removes the stale rings that are old enough, or says which these are.
fn remove_some(args: &RmArgs) -> Result<(), Failure> {
    let least = args.older_than.unwrap_or_default();
    let is_meant = |segment: &Segment| {
        let is_stale = segment.is_stale() && segment.is_own();
        (is_stale || segment.may_be_empty_leftover()) && segment.age() >= least
    };
    let mut failed = None;
    for segment in survey()?.iter().filter(|segment| is_meant(segment)) {
        let id = segment.id();
        if args.dry_run {
            let what = match segment.is_stale() {
                true => segment.path(),
                false => "if it is all zero: its creator died early".to_owned(),
            };
            say(format_args!("would remove segment {id} ({what})"))?;
            continue;
        }
        match remove(id) {
            Ok(()) => say(format_args!("removed segment {id}"))?,
            // Somebody has just joined it, or removed it.
            Err(RemoveError::InUse { .. } | RemoveError::Open(OpenError::Removed { .. })) => {}
            // Not all of it is zero, so it belongs to another program.
            Err(_) if !segment.is_stale() => {}
            Err(error) => _ = failed.get_or_insert(Failure::from(error)),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Says that a ring would be removed, or why not.
fn would_remove(name: &str, ring: &Snapshot, force: bool) -> Result<(), Failure> {
    let uid = sysv::stat(ring.id).map_err(OpenError::from)?.uid;
    if let Some(failure) = of_another_user(ring.id, uid) {
        return Err(failure);
    }
    let mut users = users_of(ring);
    if users.is_empty() && ring.attached > 0 {
        users.push(format!(
            "others, who have it attached {} times",
            ring.attached
        ));
    }
    match (users.is_empty(), force) {
        (true, _) => say(format_args!("would remove {name}")),
        (false, true) => say(format_args!(
            "would remove {name}, in use by {}",
            users.join(" and ")
        )),
        (false, false) => {
            let users = users.join(" and ");
            let why = format!("{name} is in use by {users}{BY_FORCE}");
            Err(Failure::other(why))
        }
    }
}

/// The processes that have a role of the ring, in words.
fn users_of(ring: &Snapshot) -> Vec<String> {
    in_words([ring.producer, ring.consumer])
}

fn in_words([producer, consumer]: [Occupant; 2]) -> Vec<String> {
    let both = [("sender", producer), ("receiver", consumer)];
    let used = both.into_iter().filter_map(|(role, occupant)| {
        let is_used = matches!(occupant, Occupant::Process(_));
        is_used.then(|| format!("the {role}, {}", holder(occupant)))
    });
    used.collect()
}

/// The failure for a path that leads to no ring: because both sides are there, or because the file
/// has gone.
fn unfound(name: &str, path: &Path, project: u32, error: &RemoveError) -> Option<Failure> {
    let RemoveError::Open(error) = error else {
        return None;
    };
    if !has_no_file(error) && !matches!(error, OpenError::NoRing { .. }) {
        return None;
    }
    let segments = match survey() {
        Ok(segments) => segments,
        Err(failure) => return Some(failure), // there may be such a ring
    };
    let of_path = |segment: &&Segment| is_of_path(segment, path, project);
    let Some(found) = segments.iter().find(of_path) else {
        return no_ring(error, project);
    };
    let users = users_of(found.ring()?);
    let id = found.id();
    Some(Failure::other(match users.is_empty() {
        false => format!(
            "{name} is in use by {}, and goes with them: no path leads to it any more",
            users.join(" and ")
        ),
        true => format!("no path leads to {name} any more: `shmpipe rm --id {id}` removes it"),
    }))
}

/// The failure for a segment of the user `uid`, unless that is this user.
fn of_another_user(id: SegmentId, uid: u32) -> Option<Failure> {
    let own = geteuid();
    if uid == own.as_raw() {
        return None;
    }
    let user = user_name(uid);
    let how = match own.is_root() {
        true => format!("`shmpipe rm --owner {user} --id {id}` removes it"),
        false if uid == Uid::ROOT.as_raw() => "only root can remove it".to_owned(),
        false => format!("only {user} and root can remove it"),
    };
    let why = format_args!("segment {id} belongs to {user}: {how}").to_string();
    Some(Failure::other(why))
}

/// The failure to remove the ring `name`, with who uses it, or with what else removes it.
/// `by_force` says how a ring in use can be removed all the same.
pub(crate) fn explained(name: &str, error: RemoveError, by_force: &str) -> Failure {
    match &error {
        RemoveError::Open(OpenError::Untrusted {
            id, uid: Some(uid), ..
        }) => {
            if let Some(failure) = of_another_user(*id, *uid) {
                return failure;
            }
        }
        // A ring by its magic, whose other words mean nothing to this build.
        RemoveError::Open(OpenError::NotARing { id, reason, .. })
            if !matches!(
                reason,
                Incompatible::NoMagic | Incompatible::TooSmall { .. }
            ) =>
        {
            let hint = format!(" (`ipcrm -m {id}` removes it)");
            return Failure::from(error).and(hint);
        }
        // Of a dry run, which has to look at the ring.
        RemoveError::Open(OpenError::System(system))
            if system.kind() == SysvErrorKind::PermissionDenied =>
        {
            return Failure::from(error).and(": only its owner and root can remove it");
        }
        _ => {}
    }
    if let RemoveError::InUse {
        by: User::Sides { producer, consumer },
        ..
    } = &error
    {
        let process = |pid: &Option<u32>| pid.map_or(Occupant::Nobody, Occupant::Process);
        let users = in_words([producer, consumer].map(process));
        if !users.is_empty() {
            let users = users.join(" and ");
            return Failure::other(format_args!("{name} is in use by {users}{by_force}"));
        }
    }
    let by = match &error {
        RemoveError::InUse {
            by: User::Maker(pid) | User::Others { last: pid, .. },
            ..
        } => pid.and_then(crate::rings::name_of),
        _ => None,
    };
    let failure = Failure::from(error);
    match by {
        None => failure,
        Some(command) => failure.and(format_args!(" (command: {command})")),
    }
}

fn say(line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    crate::text::print(format_args!("{line}\n"))
}
