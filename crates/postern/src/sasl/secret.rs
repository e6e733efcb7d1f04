//! A secret of this server: from it come the salts of accounts that don't exist, the same each time they are asked for,
//! and the marks of addresses that accounts were used from.

use aws_lc_rs::hmac;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

static SECRET: OnceLock<[u8; 32]> = OnceLock::new();

/// Keep the secret in this file, that it outlives the process; made if it isn't there. Without, it is a new one each time.
///
/// # Errors
/// When there is no using the file.
pub fn load(path: &Path) -> io::Result<()> {
    if SECRET.get().is_some() {
        return Ok(());
    }
    let mut secret = [0; 32];
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            secret = fresh();
            file.write_all(&secret).inspect_err(|_| {
                // Half a secret would stay in the way.
                let _ = std::fs::remove_file(path);
            })?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().read(true).open(path)?.read_exact(&mut secret)?;
        }
        Err(error) => return Err(error),
    }
    let _ = SECRET.set(secret);
    Ok(())
}

fn fresh() -> [u8; 32] {
    let mut bytes = [0; 32];
    // Without a source of random numbers there is no TLS either; what is left is a salt that can be guessed.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// Bytes for a purpose and an account: always the same ones, and nobody else can make them.
pub fn derive(purpose: &str, account: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.get_or_init(fresh));
    let tag = hmac::sign(&key, format!("{purpose}\0{account}").as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&tag.as_ref()[..32]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_each_time() {
        assert_eq!(derive("salt", "a"), derive("salt", "a"));
        assert_ne!(derive("salt", "a"), derive("salt", "b"));
        assert_ne!(derive("salt", "a"), derive("key", "a"));
    }

    #[test]
    fn it_is_kept_in_a_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        // Another test may have made one already: then there is no file.
        load(&path).unwrap();
        if let Ok(metadata) = path.metadata() {
            assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (32, 0o600));
        }
    }
}
