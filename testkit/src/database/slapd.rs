//! OpenLDAP's server, with the suffix `dc=example,dc=org`. Its manager is `cn=admin,dc=example,dc=org`, password `secret`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::User;

use super::{certificate, command, directory, run, user};
use crate::tools::{find, skipped};
use crate::{Program, ports, wait_until};

/// A running slapd.
#[derive(Debug)]
pub struct Slapd {
    dir: tempfile::TempDir,
    /// Its port, on 127.0.0.1.
    pub port: u16,
    /// Its port with TLS from the start.
    pub tls_port: u16,
    server: PathBuf,
    user: Option<User>,
    program: Program,
}

impl Slapd {
    /// Loads these entries, besides the suffix, and starts the server; `None`, with a word, when it isn't installed.
    pub fn start(check: &str, entries: &str) -> Option<Self> {
        let Some(server) = find("slapd") else {
            skipped(check, "package slapd is missing");
            return None;
        };
        let user = user("openldap");
        let dir = crate::temp_dir().expect("a temporary directory");
        let data = dir.path().join("data");
        directory(&data, user.as_ref()).expect("a directory");
        certificate(&data, user.as_ref()).expect("a certificate");
        let config = format!(
            "modulepath /usr/lib/ldap\nmoduleload back_mdb\ninclude /etc/ldap/schema/core.schema\n\
             include /etc/ldap/schema/cosine.schema\ninclude /etc/ldap/schema/inetorgperson.schema\n\
             pidfile {data}/pid\n\
             TLSCACertificateFile {data}/ca.pem\nTLSCertificateFile {data}/cert.pem\n\
             TLSCertificateKeyFile {data}/key.pem\ndatabase mdb\nsuffix dc=example,dc=org\nrootdn cn=admin,dc=example,dc=org\n\
             rootpw secret\ndirectory {data}\nmaxsize 10485760\nindex objectClass,mail,uid eq\ndbnosync\n\
             access to * by users read by anonymous read\n",
            data = data.display(),
        );
        std::fs::write(dir.path().join("slapd.conf"), config).expect("a file");
        let mut add = command(&server, user.as_ref());
        // The same program, under another name.
        add.args(["-T", "add", "-q", "-f"]).arg(dir.path().join("slapd.conf"));
        let suffix = "dn: dc=example,dc=org\nobjectClass: domain\ndc: example\n\n";
        run(&mut add, &format!("{suffix}{entries}"));
        let (port, tls_port) = (ports::free_port(), ports::free_port());
        let program = serve(&dir, [port, tls_port], &server, user.as_ref());
        let mut server = Self { dir, port, tls_port, server, user, program };
        server.wait();
        Some(server)
    }

    /// Its address over its socket.
    pub fn socket_url(&self) -> String {
        format!("ldapi://{}", self.dir.path().join("data/sock").display().to_string().replace('/', "%2F"))
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.program.kill();
        assert!(wait_until(Duration::from_secs(10), || !ports::is_listening(self.port)));
    }

    /// Starts it again on the same data.
    pub fn start_again(&mut self) {
        self.program = serve(&self.dir, [self.port, self.tls_port], &self.server, self.user.as_ref());
        self.wait();
    }

    fn wait(&mut self) {
        self.program.wait_listening(&[self.port], Duration::from_secs(60)).unwrap_or_else(|error| panic!("{error}"));
    }
}

fn serve(dir: &tempfile::TempDir, [port, tls]: [u16; 2], server: &Path, user: Option<&User>) -> Program {
    let socket = dir.path().join("data/sock").display().to_string().replace('/', "%2F");
    let mut command = command(server, user);
    command.arg("-f").arg(dir.path().join("slapd.conf"));
    // In the foreground, with errors on standard error.
    command.args(["-d", "0", "-h", &format!("ldap://127.0.0.1:{port}/ ldaps://127.0.0.1:{tls}/ ldapi://{socket}/")]);
    Program::start_group(&mut command, &dir.path().join("output")).expect("slapd starts")
}
