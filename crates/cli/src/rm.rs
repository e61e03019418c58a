//! `shmpipe rm`: removes rings, and only rings.

use std::path::Path;

use rustix::process::geteuid;
use shmpipe::escape::shown;
use shmpipe::{Occupant, OpenError, Options, RemoveError, Snapshot, User};

use crate::args::{RmArgs, RmTarget};
use crate::exit::Failure;
use crate::rings::{Segment, holder, is_of_path, survey, user_name};

pub(crate) fn run(args: &RmArgs) -> Result<(), Failure> {
    match &args.target {
        RmTarget {
            path: Some(path), ..
        } => {
            let mut options = Options::new();
            options.project(args.project);
            let name = format!("the ring of {}", shown(path));
            if args.dry_run {
                let ring = options.snapshot(path).map_err(|error| {
                    let error = RemoveError::from(error);
                    used_by_a_pair(&name, path, &error).unwrap_or(error.into())
                })?;
                return would_remove(&name, &ring, args.force);
            }
            let removed = match args.force {
                true => options.force_remove(path),
                false => options.remove(path),
            };
            removed
                .map_err(|error| used_by_a_pair(&name, path, &error).unwrap_or(explained(error)))?;
            say(format_args!("removed {name}"))
        }
        RmTarget { id: Some(id), .. } => {
            if args.dry_run {
                return would_remove(&format!("segment {id}"), &Snapshot::of(*id)?, args.force);
            }
            let removed = match args.force {
                true => shmpipe::force_remove(*id),
                false => shmpipe::remove(*id),
            };
            removed.map_err(explained)?;
            say(format_args!("removed segment {id}"))
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

/// Removes the stale rings that are old enough, or says which these are.
fn remove_some(args: &RmArgs) -> Result<(), Failure> {
    let least = args.older_than.unwrap_or_default();
    let is_meant = |segment: &Segment| {
        (segment.is_stale() || segment.may_be_empty_leftover()) && segment.age() >= least
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
        match shmpipe::remove(id) {
            Ok(()) => say(format_args!("removed segment {id}"))?,
            // Somebody has just joined it, or removed it, or it is not ours to remove.
            Err(RemoveError::InUse { .. }) => {}
            // Not all of it is zero, so it belongs to another program.
            Err(_) if !segment.is_stale() => {}
            Err(error) => _ = failed.get_or_insert(Failure::from(error)),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Says that a ring would be removed, or by whom it is in use.
fn would_remove(name: &str, ring: &Snapshot, force: bool) -> Result<(), Failure> {
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
            let why = format!(
                "{name} is in use by {} (--force removes it)",
                users.join(" and ")
            );
            Err(Failure::other(why))
        }
    }
}

/// The processes that have a role of the ring, in words.
fn users_of(ring: &Snapshot) -> Vec<String> {
    let both = [("sender", ring.producer), ("receiver", ring.consumer)];
    let used = both.into_iter().filter_map(|(role, occupant)| {
        let is_used = matches!(occupant, Occupant::Process(_));
        is_used.then(|| format!("the {role}, {}", holder(occupant)))
    });
    used.collect()
}

/// The failure for a path that leads to no ring any more, because both sides are there.
fn used_by_a_pair(name: &str, path: &Path, error: &RemoveError) -> Option<Failure> {
    let RemoveError::Open(OpenError::NoRing { .. }) = error else {
        return None;
    };
    let segments = survey().ok()?;
    let pair = segments.iter().find(|segment| is_of_path(segment, path))?;
    let users = users_of(pair.ring()?);
    (!users.is_empty()).then(|| {
        Failure::other(format_args!(
            "{name} is in use by {}, and goes with them: no path leads to it any more",
            users.join(" and ")
        ))
    })
}

/// The failure, with the names of the commands that use the ring.
fn explained(error: RemoveError) -> Failure {
    if let RemoveError::Open(OpenError::Untrusted {
        id, uid: Some(uid), ..
    }) = &error
        && *uid != geteuid().as_raw()
    {
        let user = user_name(*uid);
        return Failure::other(format_args!(
            "segment {id} belongs to {user}: only that user's `shmpipe rm` removes it"
        ));
    }
    let name = |pid: Option<u32>| pid.filter(|&pid| pid != 0).and_then(crate::rings::name_of);
    let names = match &error {
        RemoveError::InUse {
            by: User::Sides { producer, consumer },
            ..
        } => [name(*producer), name(*consumer)],
        RemoveError::InUse {
            by: User::Maker(pid) | User::Others { last: pid, .. },
            ..
        } => [name(*pid), None],
        _ => [None, None],
    };
    let names: Vec<String> = names.into_iter().flatten().collect();
    let failure = Failure::from(error);
    match names.is_empty() {
        true => failure,
        false => failure.and(format_args!(" (commands: {})", names.join(", "))),
    }
}

fn say(line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    crate::text::print(format_args!("{line}\n"))
}
