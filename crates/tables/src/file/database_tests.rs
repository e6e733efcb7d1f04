use super::*;

const FORMATS: [(Format, &str); 4] =
    [(Format::Hash, "t.db"), (Format::Btree, "t.db"), (Format::Lmdb, "t.lmdb"), (Format::Cdb, "t.cdb")];

fn sample(count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pair = |n: usize| {
        let key = format!("user{}@example.com\0", n * 7919 % 100_003).into_bytes();
        let mut value = format!("value {n}").into_bytes();
        // Some long ones, over one page and over several.
        if n.is_multiple_of(97) {
            value = value.repeat(1 + n % 1000);
        }
        (key, value)
    };
    (0..count).map(pair).collect()
}

fn filled(format: Format, pairs: &[(Vec<u8>, Vec<u8>)]) -> Database {
    let mut database = Database::new(format);
    for (key, value) in pairs {
        assert_eq!(database.put(key, value, Existing::Keep), Ok(Stored::Yes));
    }
    database
}

fn owned(database: &Database) -> Vec<(Vec<u8>, Vec<u8>)> {
    database.pairs().into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

#[test]
fn what_is_written_is_read_again() {
    for (format, name) in FORMATS {
        for count in [0, 1, 3, 200, 5000] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(name);
            let mut pairs = sample(count);
            Update::begin(format, &path).unwrap().commit(&filled(format, &pairs), 0o640).unwrap();
            let database = Database::read(format, &path).unwrap();
            let mut found = owned(&database);
            found.sort();
            pairs.sort();
            assert!(found == pairs, "{format:?} {count}");
            assert!(pairs.iter().all(|(key, value)| database.get(key) == Some(value)), "{format:?} {count}");
            // The look-up tables of the daemon read it too.
            if let Some((key, value)) = pairs.get(count / 2) {
                let kind = format!("{format:?}").to_lowercase();
                let opened = crate::open(&format!("{kind}:t"), &crate::OpenOptions::new(dir.path())).ok().unwrap();
                let key = std::str::from_utf8(key.strip_suffix(b"\0").unwrap()).unwrap();
                assert_eq!(opened.table.get(key).unwrap().unwrap().as_bytes(), value, "{format:?}");
            }
        }
    }
}

#[test]
fn long_keys_have_pages_of_their_own() {
    let pairs: Vec<_> =
        (0..300).map(|n| (format!("{}{n:05}", "k".repeat(2000)).into_bytes(), vec![b'v'; n * 50])).collect();
    for (format, name) in [FORMATS[0], FORMATS[1], FORMATS[3]] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        Update::begin(format, &path).unwrap().commit(&filled(format, &pairs), 0o644).unwrap();
        let mut found = owned(&Database::read(format, &path).unwrap());
        found.sort();
        assert!(found == pairs, "{format:?}");
    }
}

#[test]
fn lmdb_refuses_long_and_empty_keys() {
    let mut database = Database::new(Format::Lmdb);
    let text = "MDB_BAD_VALSIZE: Unsupported size of key/DB name/data, or wrong DUPFIXED size";
    for (length, stored) in [(0, Err(text)), (1, Ok(Stored::Yes)), (511, Ok(Stored::Yes)), (512, Err(text))] {
        let result = database.put(&vec![b'k'; length], b"v", Existing::Keep).map_err(|error| error.to_string());
        assert_eq!(result, stored.map_err(str::to_owned), "{length}");
    }
}

#[test]
fn puts_and_removes() {
    let mut database = Database::new(Format::Hash);
    assert_eq!(database.put(b"a", b"1", Existing::Keep), Ok(Stored::Yes));
    assert_eq!(database.put(b"a", b"2", Existing::Keep), Ok(Stored::Duplicate));
    assert_eq!(database.get(b"a"), Some(&b"1"[..]));
    assert_eq!(database.put(b"a", b"3", Existing::Replace), Ok(Stored::Yes));
    assert_eq!(database.pairs(), [(&b"a"[..], &b"3"[..])]);
    assert!(database.remove(b"a"));
    assert!(!database.remove(b"a"));
    assert_eq!((database.get(b"a"), database.pairs().len()), (None, 0));
}

#[test]
fn broken_files_are_errors_in_postfix_words() {
    let dir = tempfile::tempdir().unwrap();
    for (format, name) in FORMATS {
        let path = dir.path().join(name);
        let error = |path: &Path| Database::read(format, path).err().unwrap().to_string();
        let shown = path.display();
        std::fs::write(&path, [0x5a; 9000]).unwrap();
        let expected = match format {
            Format::Cdb => format!("dict_cdbq_open: unable to init {shown}: Protocol error"),
            Format::Lmdb => format!("open database {shown}: MDB_INVALID: File is not an LMDB file"),
            _ => format!("open database {shown}: Invalid argument"),
        };
        assert_eq!(error(&path), expected);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(error(&path), format!("open database {shown}: No such file or directory"));
    }
    // The kinds of Berkeley DB files are not mixed up.
    let path = dir.path().join("t.db");
    Update::begin(Format::Btree, &path).unwrap().commit(&filled(Format::Btree, &sample(10)), 0o644).unwrap();
    assert!(Database::read(Format::Hash, &path).is_err());
}

#[test]
fn a_failure_keeps_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.db");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
    let failed = Replacement::begin(&path).unwrap().commit(0o644, true, |_| Err(std::io::Error::other("full")));
    assert_eq!(failed.unwrap_err().to_string(), "full");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    // And a success keeps its mode.
    let done = Replacement::begin(&path).unwrap().commit(0o644, true, |new| std::fs::write(new, "new"));
    assert!(done.is_ok());
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o604);
}

#[test]
fn writers_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.db");
    Update::begin(Format::Hash, &path).unwrap().commit(&Database::new(Format::Hash), 0o644).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for number in 0..20 {
                    let update = Update::begin(Format::Hash, path).unwrap();
                    let mut database = update.contents().unwrap();
                    database.put(format!("{writer}-{number}").as_bytes(), b"v", Existing::Keep).unwrap();
                    update.commit(&database, 0o644).unwrap();
                }
            });
        }
    });
    assert_eq!(Database::read(Format::Hash, &path).unwrap().pairs().len(), 80);
}
