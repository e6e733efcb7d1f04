//! Working as the owner of a source file: root's rights are not needed to make a table of it, and could be abused by
//! who may write beside it.

use super::Fatal;
use nix::unistd::{Gid, Uid, geteuid, setegid, seteuid, setgroups};

/// Until it is dropped, the process has these effective rights.
pub(super) struct Owner {
    groups: Option<Vec<Gid>>,
    gid: Gid,
}

impl Owner {
    /// Become this owner, if we are root and it isn't.
    pub(super) fn become_owner(uid: u32, gid: u32) -> Result<Option<Self>, Fatal> {
        if !geteuid().is_root() || (uid == 0 && gid == 0) {
            return Ok(None);
        }
        let failed = |what: &str, error: nix::Error| Fatal(format!("{what}({uid}, {gid}): {}", error.desc()));
        let gid = Gid::from_raw(gid);
        let before = Self { groups: nix::unistd::getgroups().ok(), gid: nix::unistd::getegid() };
        setegid(gid).map_err(|error| failed("setegid", error))?;
        setgroups(&[gid]).map_err(|error| failed("setgroups", error))?;
        seteuid(Uid::from_raw(uid)).map_err(|error| failed("seteuid", error))?;
        Ok(Some(before))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Going back to root is always allowed; if it weren't, the next table would be made with fewer rights.
        let _ = seteuid(Uid::from_raw(0));
        let _ = setegid(self.gid);
        let _ = self.groups.as_deref().map(setgroups);
    }
}
