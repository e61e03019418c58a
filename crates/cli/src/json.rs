//! The JSON of `ls`, `stat`, `doctor` and `bench`. The guide documents its shape.

use serde_json::{Value, json};
use shmpipe::{Occupant, Snapshot};

use crate::rings::{Segment, name_of, user_name};

/// The version of all shapes. A new key does not change it.
const VERSION: u32 = 1;

/// One object in one line: the keys of `object`, and what every shape has.
pub(crate) fn line(verb: &str, object: Value) -> String {
    let mut whole = json!({ "version": VERSION, "verb": verb });
    if let (Value::Object(whole), Value::Object(object)) = (&mut whole, object) {
        whole.extend(object);
    }
    format!("{whole}\n")
}

/// What comes between two looks of `--watch`: nothing between lines of JSON.
pub(crate) fn between(is_json: bool) -> &'static str {
    if is_json { "" } else { "\n" }
}

/// A segment that is, or may be, a ring.
pub(crate) fn segment(segment: &Segment) -> Value {
    let stat = &segment.stat;
    let mut whole = json!({
        "id": stat.id.raw(),
        "state": segment.state().to_string(),
        "owner": { "uid": stat.uid, "name": user_name(stat.uid) },
        "mode": format!("{:04o}", stat.mode.bits()),
        "size": stat.size,
        "attached": stat.attached,
        "age_seconds": segment.age().as_secs(),
        "changed": stat.change_time,
        "is_ring": segment.ring().is_some(),
        "is_stale": segment.is_stale(),
    });
    if let (Value::Object(whole), Some(Value::Object(ring))) = (
        &mut whole,
        segment.ring().map(|snapshot| ring(snapshot, segment)),
    ) {
        whole.extend(ring);
    }
    whole
}

fn ring(ring: &Snapshot, segment: &Segment) -> Value {
    json!({
        "path": ring.path.as_ref().map(|path| path.to_string_lossy()),
        "project": ring.project.map(|id| id.get()),
        "key": ring.key.map(|key| key.to_string()),
        "attached": ring.attached,
        "life_cycle": ring.life_cycle.to_string(),
        "capacity": ring.capacity,
        "fill": ring.fill,
        "total": ring.written,
        "unread_ends": ring.unread_ends,
        "nonce": format!("{:016x}", ring.nonce),
        "rate": segment.rate,
        "producer": holder(ring.producer, ring.producer_sleeps),
        "consumer": holder(ring.consumer, ring.consumer_sleeps),
    })
}

fn holder(occupant: Occupant, waits: bool) -> Value {
    let (status, pid) = match occupant {
        Occupant::Nobody => ("nobody", None),
        Occupant::Process(pid) => ("present", Some(pid)),
        Occupant::Dead(pid) => ("dead", Some(pid)),
        Occupant::Left => ("left", None),
        _ => ("unknown", None),
    };
    let pid = pid.filter(|&pid| pid != 0);
    let command = match occupant {
        Occupant::Process(pid) => name_of(pid),
        _ => None,
    };
    json!({ "status": status, "pid": pid, "command": command, "waits": waits })
}
