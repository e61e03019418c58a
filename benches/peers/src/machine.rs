//! A description of the machine.

use std::fs;
use std::process::Command;

/// The processor from /proc/cpuinfo, with family and model, since a hypervisor's name says
/// little.
pub(crate) fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.split(':').next().map(str::trim) == Some(name));
        line.and_then(|line| line.split(':').nth(1))
            .map_or("?", str::trim)
    };
    let (name, family, model) = (field("model name"), field("cpu family"), field("model"));
    let guest = if field("flags").contains(" hypervisor") {
        ", a guest"
    } else {
        ""
    };
    format!("{name} (family {family}, model {model}){guest}")
}

pub(crate) fn caches() -> String {
    let mut caches = Vec::new();
    for index in 0..4 {
        let base = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
        let read = |name| fs::read_to_string(format!("{base}/{name}"));
        if let (Ok(level), Ok(kind), Ok(size)) = (read("level"), read("type"), read("size"))
            && kind.trim() != "Instruction"
        {
            caches.push(format!("L{} {}", level.trim(), size.trim()));
        }
    }
    caches.join(", ")
}

pub(crate) fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim())
}

pub(crate) fn rustc() -> String {
    printed(Command::new("rustc").arg("--version"))
}

/// Today, by universal time.
pub(crate) fn date() -> String {
    printed(Command::new("date").args(["-u", "+%F"]))
}

/// What a program prints.
fn printed(command: &mut Command) -> String {
    let output = command.output();
    output.map_or("?".into(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().into()
    })
}

/// The contenders' versions, as locked.
pub(crate) fn versions() -> Vec<String> {
    let lock = include_str!("../Cargo.lock");
    let locked = lock.split("[[package]]").filter_map(|package| {
        let field = |name: &str| {
            let (_, rest) = package.split_once(&format!("\n{name} = \""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let name = field("name")?;
        NAMED
            .contains(&name)
            .then_some(format!("{name} {}", field("version")?))
    });
    let mut versions: Vec<String> = locked.collect();
    if cfg!(feature = "cpp") {
        let ask = ["-W", "-f", "${Package} ${Version}\\n"];
        let packages = [
            "libatomic-queue-dev",
            "libboost-dev",
            "libreaderwriterqueue-dev",
        ];
        let printed = printed(Command::new("dpkg-query").args(ask).args(packages));
        versions.extend(printed.lines().map(String::from));
    }
    versions
}

/// The packages whose versions belong to a run.
const NAMED: [&str; 14] = [
    "bbqueue",
    "cloudtoid-interprocess",
    "cueue",
    "iceoryx2",
    "ipc-channel",
    "ipc_ring",
    "ipmpsc",
    "ringbuf",
    "ringfire",
    "rtrb",
    "shmem-ipc",
    "shmpipe",
    "shmring",
    "tokio",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_has_its_locked_version() {
        let versions = versions();
        for name in NAMED {
            let of = |one: &String| Some(one.strip_prefix(name)?.strip_prefix(' ')?.to_string());
            let version: Vec<String> = versions.iter().filter_map(of).collect();
            let is_version = version[0]
                .split('.')
                .all(|part| part.parse::<u32>().is_ok());
            assert!(version.len() == 1 && is_version, "{name}: {version:?}");
        }
    }
}
