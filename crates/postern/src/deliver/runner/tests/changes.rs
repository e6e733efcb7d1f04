//! What a postmaster does to mail that is on its way.

use super::*;
use crate::deliver::{Change, InHand};

/// Takes one connection, and every message on it.
fn take(listener: &TcpListener) -> std::thread::JoinHandle<usize> {
    let (mut stream, _) = listener.accept().unwrap();
    std::thread::spawn(move || {
        write!(stream, "220 sink\r\n").unwrap();
        let (mut is_content, mut taken) = (false, 0);
        for line in BufReader::new(stream.try_clone().unwrap()).lines() {
            let Ok(line) = line else { break };
            match line.as_str() {
                "." => {
                    is_content = false;
                    taken += 1;
                }
                _ if is_content => continue,
                "DATA" => is_content = true,
                _ => {}
            }
            let reply = if is_content { "354 go" } else { "250 ok" };
            if write!(stream, "{reply}\r\n").is_err() || line == "QUIT" {
                break;
            }
        }
        taken
    })
}

fn in_hand(lab: &Lab) -> InHand {
    lab.handle.in_hand().unwrap()
}

/// Waits until nothing is active. There is a limit to it: the log.
fn wait_idle(lab: &Lab) {
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while !in_hand(lab).active.is_empty() {
        assert!(std::time::Instant::now() < end, "still active: {:?}", in_hand(lab));
        std::thread::yield_now();
    }
}

#[test]
fn deferred_mail_is_held_released_tried_and_removed() {
    let routes = vec![("t.example", "retry:4.3.2 later".into())];
    let lab = Lab::new(routes, "");
    let id = lab.send("s@example.org", &["x@t.example"]);
    let later = "status=deferred (later)";
    lab.until(later);
    wait_idle(&lab);
    let change = |change| lab.handle.change(id, change);
    assert_eq!(change(Change::Try), Some(true));
    lab.until(later);
    wait_idle(&lab);
    assert_eq!(change(Change::Hold), Some(true));
    assert!(lab.spool.message(id).unwrap().envelope.hold);
    // neither of these moves what is held
    lab.handle.flush();
    assert_eq!((change(Change::Try), in_hand(&lab)), (Some(false), InHand::default()));
    assert_eq!(change(Change::Release), Some(true));
    assert!(!lab.spool.message(id).unwrap().envelope.hold);
    lab.handle.flush();
    lab.until(later);
    wait_idle(&lab);
    assert_eq!(change(Change::Remove), Some(true));
    assert!(lab.spool.is_empty());
    for what in [Change::Hold, Change::Release, Change::Remove, Change::Try] {
        assert_eq!(change(what), Some(false), "{what:?}");
    }
}

#[test]
fn mail_that_was_held_from_its_arrival_goes_out_when_released() {
    let (port, _told) = server(&[]);
    let lab = Lab::new(vec![("a.example", format!("relay:[127.0.0.1]:{port}"))], "");
    let mut message = lab.message("s@example.org", &["x@a.example"]);
    Arc::make_mut(&mut message.envelope).hold = true;
    lab.spool.submit_and_wait(message.clone()).unwrap();
    let id = message.envelope.queue_id;
    lab.handle.enqueue(message);
    assert_eq!(in_hand(&lab), InHand::default());
    assert_eq!(lab.handle.change(id, Change::Release), Some(true));
    lab.until(": removed");
    assert!(lab.spool.is_empty());
}

#[test]
fn a_delivery_under_way_ends_whatever_is_done() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let limit = "relay_destination_concurrency_limit = 1\nrelay_destination_recipient_limit = 2\n";
    let lab = Lab::new(vec![("a.example", format!("relay:[127.0.0.1]:{port}"))], limit);
    // the first two recipients are under way, the third one waits for its turn
    let id = lab.send("s@example.org", &["x@a.example", "y@a.example", "z@a.example"]);
    lab.until("(queue active)");
    let sink = take(&listener);
    assert_eq!(in_hand(&lab).active, [id].into());
    assert_eq!(lab.handle.change(id, Change::Hold), Some(true));
    wait_idle(&lab);
    let sent = lab.log.try_iter().filter(|line| line.contains("status=sent")).count();
    assert!(sent < 3, "{sent}");
    let left = lab.spool.message(id).unwrap();
    assert!(left.envelope.hold);
    assert_eq!(left.envelope.recipients[2].state, RecipientState::Pending);
    drop(listener);
    drop(lab);
    assert!(sink.join().unwrap() <= 1);
}

#[test]
fn what_is_removed_in_delivery_is_gone_after_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let lab = Lab::new(vec![("a.example", format!("relay:[127.0.0.1]:{port}"))], "");
    let id = lab.send("s@example.org", &["x@a.example"]);
    lab.until("(queue active)");
    assert_eq!(lab.handle.change(id, Change::Remove), Some(true));
    // a crash now leaves it where it goes nowhere
    assert!(lab.spool.message(id).is_none_or(|message| message.envelope.hold));
    assert_eq!(lab.handle.change(id, Change::Release), Some(false));
    drop(listener);
    lab.until(": removed");
    assert!(lab.spool.is_empty());
}

#[test]
fn aliases_are_expanded_anew_for_who_is_left() {
    let lab = Lab::new(vec![], "");
    let mut message = lab.message("s@example.org", &["x", "y@a.example", "y@a.example", "z@a.example"]);
    let recipients = &mut Arc::make_mut(&mut message.envelope).recipients;
    recipients[3].state = RecipientState::Done;
    let expanded = lab.handle.expand(message).unwrap().unwrap();
    let shown: Vec<_> = expanded.iter().map(|r| (r.address.as_str(), r.orig_to.as_deref())).collect();
    assert_eq!(shown, [("x@example.com", Some("x")), ("y@a.example", None)]);
}

/// A session's thread has stored a message, and the postmaster is faster than its word to us.
#[test]
fn what_is_done_before_we_hear_of_a_message_counts() {
    let (port, _told) = server(&[]);
    let lab = Lab::new(vec![("a.example", format!("relay:[127.0.0.1]:{port}"))], "");
    for change in [Change::Hold, Change::Remove] {
        let message = lab.message("s@example.org", &["x@a.example"]);
        let id = message.envelope.queue_id;
        lab.spool.submit_and_wait(message.clone()).unwrap();
        assert_eq!(lab.handle.change(id, change), Some(true));
        lab.handle.enqueue(message);
        assert_eq!(in_hand(&lab), InHand::default(), "{change:?}");
        assert_eq!(lab.spool.message(id).is_some_and(|m| m.envelope.hold), change == Change::Hold);
    }
    let other = lab.send("s@example.org", &["x@a.example"]);
    assert_eq!(lab.until(": removed").len(), 3);
    assert!(lab.spool.message(other).is_none());
}
