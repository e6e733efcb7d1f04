//! The cell of logins: what AUTH PLAIN adds to a session that says EHLO and QUIT. At Dovecot, only what the SMTP server
//! does for it is counted, not Dovecot; with postern's own tables, the hash of the password is part of it. The hashes here
//! are as cheap as they come: what real ones cost is for the postmaster to choose.

use std::fs;

use testkit::Dovecot;

use super::cells::Bench;
use super::load::Kind;
use super::peers::{Peer, Who, policy};
use super::spell::median;
use super::table::Figure;

/// The password `secret`: SHA-crypt of 1000 rounds, Argon2 with 64 KiB of memory and one pass.
const HASHES: [(Figure, &str); 2] = [
    (
        Figure::LoginShaCrypt,
        "{SHA512-CRYPT}$6$rounds=1000$benchbench$VyPlxx.vZ6QbbR0ZViPu9CAFYmCooy1/zkrq5/uARClOqmdfLAaaFATlxLcxLRZo3tpoSpo6aKPmLCoWLNoW6/",
    ),
    (
        Figure::LoginArgon2,
        "{ARGON2ID}$argon2id$v=19$m=64,t=1,p=1$KJRpPr6BxLHx+zR9I+y+Nw$f50mLM8YKrh2gArKpH5IsNPxg5gS2AtN61OTzGWjdnk",
    ),
];

impl Bench {
    /// Logins at Dovecot, and for postern at a table of its own.
    pub fn login(&mut self, who: Who) -> Result<(), String> {
        if let Some(dovecot) = Dovecot::start("the bench of logins at Dovecot", "plain") {
            let settings = format!("smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {}\n", dovecot.unix());
            let peer = self.with_logins(who, &settings)?;
            self.logins(who, &peer, Figure::LoginDovecot)?;
        }
        if who != Who::Postern {
            return Ok(());
        }
        for (figure, hash) in HASHES {
            let path = self.site.directory().join("passwords");
            fs::write(&path, format!("user {hash}\n")).map_err(|e| format!("{}: {e}", path.display()))?;
            let maps = format!("postern_sasl_password_maps = texthash:{}\n", path.display());
            let peer = self.with_logins(who, &("smtpd_sasl_type = postern\n".to_owned() + &maps))?;
            self.logins(who, &peer, figure)?;
        }
        Ok(())
    }

    fn with_logins(&self, who: Who, settings: &str) -> Result<Peer, String> {
        let settings = policy(self.site.table()) + "smtpd_sasl_auth_enable = yes\n" + settings;
        self.site.start_with(who, &settings, false)
    }

    /// Sessions with a login and without, in turn; the median of the differences counts.
    fn logins(&mut self, who: Who, peer: &Peer, figure: Figure) -> Result<(), String> {
        let turns = self.in_turn(who, [(peer, Kind::Login), (peer, Kind::Hello)])?;
        self.table.add(figure, who, median(turns.iter().map(|[with, without]| with - without)));
        Ok(())
    }
}
