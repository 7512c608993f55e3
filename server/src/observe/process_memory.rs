//! Memory of the process, and its limit.

use std::fs::read_to_string;
use std::path::Path;

/// Folder of control groups.
const GROUPS: &str = "/sys/fs/cgroup";

/// Bytes of the process in RAM.
pub(crate) fn resident_bytes() -> Option<u64> {
    kilobytes(&read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Memory limit in bytes: the lowest of the process's control groups and the machine.
pub(crate) fn limit_bytes() -> Option<u64> {
    let machine = kilobytes(&read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(group_limit(Path::new(GROUPS), &groups).map_or(machine, |limit| limit.min(machine)))
}

/// Parses a line of kilobytes, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The lowest limit from a process's group up to the root.
///
/// `groups` is the text of `/proc/self/cgroup`: `0::/a/b` for version 2 of control groups,
/// `4:memory:/a/b` for version 1.
fn group_limit(root: &Path, groups: &str) -> Option<u64> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (root, file) = match parts.next()? {
            "" => (root.to_owned(), "memory.max"),
            kinds if kinds.split(',').any(|kind| kind == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let own = root.join(parts.next()?.trim_start_matches('/'));
        let up = own.ancestors().take_while(|folder| folder.starts_with(&root));
        up.filter_map(|folder| read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok())
            .min()
    };
    groups.lines().filter_map(of_line).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn the_process_is_within_its_limit() {
        let (has, may) = (resident_bytes().unwrap(), limit_bytes().unwrap());
        assert!(0 < has && has <= may, "{has} of {may}");
    }

    #[test]
    fn the_lowest_limit_of_all_parent_groups_holds() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a/memory.max", "3000\n");
        write(root.path(), "a/b/memory.max", "max\n");
        assert_eq!(group_limit(root.path(), "0::/a/b\n"), Some(3000));
        assert_eq!(group_limit(root.path(), "0::/c\n"), None);
        assert_eq!(group_limit(root.path(), "0::/\n"), None);
        write(root.path(), "memory/d/memory.limit_in_bytes", "2000\n");
        assert_eq!(group_limit(root.path(), "5:cpu,memory:/d\n4:pids:/d\n"), Some(2000));
        assert_eq!(group_limit(root.path(), "no group\n:::\n0::/../..\n"), None);
    }
}
