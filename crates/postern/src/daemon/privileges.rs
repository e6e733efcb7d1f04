//! Bind as root, then give root up for good: `mail_owner` for user and groups, Landlock for the file system.

use anyhow::{Context, Result, bail, ensure};
use landlock::{ABI, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus};
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setresgid, setresuid, setuid};
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// The user that postern works as.
#[derive(Clone, Debug)]
pub struct Owner {
    name: String,
    uid: Uid,
    gid: Gid,
}

/// Whom to become: `None` when we aren't root and stay who we are.
///
/// # Errors
/// `mail_owner` doesn't exist, or is root.
pub fn owner(mail_owner: &str) -> Result<Option<Owner>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let user = User::from_name(mail_owner)
        .with_context(|| format!("looking up mail_owner {mail_owner}"))?
        .with_context(|| format!("mail_owner {mail_owner}: no such user; create it (adduser --system --group {mail_owner}) or set mail_owner to an existing unprivileged user"))?;
    ensure!(!user.uid.is_root(), "mail_owner {mail_owner} is root: name an unprivileged user");
    Ok(Some(Owner { name: user.name, uid: user.uid, gid: user.gid }))
}

impl Owner {
    /// Make a directory theirs, creating it if need be.
    ///
    /// # Errors
    /// It can't be created or handed over.
    pub fn adopt(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        nix::unistd::chown(dir, Some(self.uid), Some(self.gid))
            .with_context(|| format!("handing {} to {}", dir.display(), self.name))
    }

    /// Make a file theirs.
    ///
    /// # Errors
    /// It can't be handed over.
    pub fn adopt_file(&self, path: &Path) -> Result<()> {
        nix::unistd::chown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("handing {} to {}", path.display(), self.name))
    }

    /// Become this user for good.
    ///
    /// # Errors
    /// The system refuses, or a way back to root remains: postern doesn't run then.
    pub fn become_for_good(&self) -> Result<()> {
        let name = CString::new(self.name.as_str())?;
        initgroups(&name, self.gid).context("initgroups")?;
        setresgid(self.gid, self.gid, self.gid).context("setresgid")?;
        setresuid(self.uid, self.uid, self.uid).context("setresuid")?;
        if setuid(Uid::from_raw(0)).is_ok() {
            bail!("dropped to {} but could become root again", self.name);
        }
        Ok(())
    }
}

/// Confine writing to `writable` and forbid running programs, where the kernel can (Linux 5.13 and later).
///
/// # Errors
/// The kernel has Landlock but refuses the rules.
pub fn confine(writable: &[PathBuf]) -> Result<&'static str> {
    let abi = ABI::V3;
    // Reading stays open: tables and lists may stand anywhere and may be added at a reload.
    let handled: BitFlags<AccessFs> = AccessFs::from_write(abi) | AccessFs::Execute;
    let mut rules = Ruleset::default().handle_access(handled)?.create()?;
    for path in writable {
        if let Ok(fd) = PathFd::new(path) {
            let access =
                if path.is_dir() { AccessFs::from_write(abi) } else { AccessFs::WriteFile | AccessFs::Truncate };
            rules = rules.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => "fully enforced",
        RulesetStatus::PartiallyEnforced => "partially enforced",
        RulesetStatus::NotEnforced => "not available in this kernel",
    })
}

/// As many open files as the system allows: each session needs one.
pub fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Staying at the old limit is not worth refusing to start.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
