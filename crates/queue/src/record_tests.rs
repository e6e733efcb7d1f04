use super::*;
use smtp::Body;

fn full_envelope() -> Envelope {
    let mut envelope = Envelope::new(QueueId::new(false, 7, 9), -5, "s@example.org");
    envelope.client = Client {
        name: "unknown".into(),
        address: "2001:db8::1".parse().ok(),
        port: 25,
        helo: "h".into(),
        protocol: "ESMTP".into(),
        sasl_method: "PLAIN".into(),
        sasl_username: "u".into(),
        sasl_sender: "x".into(),
    };
    (envelope.hold, envelope.body, envelope.ret) = (true, Body::SevenBit, Some(Ret::Headers));
    envelope.requiretls = true;
    (envelope.envid, envelope.content_filter) = (Some(String::new()), Some("smtp:[::1]:10025".into()));
    (envelope.size, envelope.verp) = (1 << 40, Some("+=".into()));
    let mut recipient = Recipient::new("r@example.com");
    recipient.orig_to = Some("alias@example.com".into());
    recipient.notify = Notify::FAILURE.with(Notify::DELAY);
    recipient.orcpt = Some("rfc822;x".into());
    (recipient.state, recipient.attempts, recipient.next_attempt) = (RecipientState::Failed, 3, 1 << 50);
    recipient.status = Some(Box::new(DeliveryStatus {
        dsn: "5.1.1".into(),
        reason: "no such user".into(),
        remote_mta: Some("mx".into()),
        reply: None,
        action: "failed".into(),
    }));
    envelope.recipients = vec![recipient, Recipient::new("é@example.com")];
    envelope
}

fn bytes(encoded: &Encoded, nonce: u64) -> Vec<u8> {
    let mut bytes = encoded.header(nonce).to_vec();
    bytes.extend_from_slice(&encoded.head);
    bytes.extend_from_slice(encoded.content.as_deref().unwrap_or_default());
    bytes.resize(encoded.size(), 0);
    bytes
}

#[test]
fn what_is_written_is_read_back() {
    let envelope = full_envelope();
    let content: Arc<[u8]> = b"Subject: x\n\nbody\n".as_slice().into();
    let record = bytes(&message(&envelope, &Content::Memory(content.clone())).unwrap(), 77);
    let raw = read(&record, 77).unwrap();
    assert_eq!(raw.size, record.len());
    let Some(Decoded::Message(back, ContentPlace::Inline(at, len))) = decode(raw.kind, raw.payload) else {
        panic!("not a message with its content")
    };
    assert_eq!(*back, envelope);
    assert_eq!(&raw.payload[at..at + len], &*content);
}

#[test]
fn no_damaged_byte_goes_unnoticed() {
    let record = bytes(&message(&full_envelope(), &Content::Memory(b"text\n".as_slice().into())).unwrap(), 1);
    let checked = record.len() - ALIGN;
    for at in (0..checked).filter(|at| !(20..HEADER).contains(at)) {
        let mut damaged = record.clone();
        damaged[at] ^= 0x10;
        assert!(read(&damaged, 1).is_none(), "byte {at}");
    }
    assert!(read(&record, 2).is_none(), "another segment's nonce");
}

#[test]
fn no_payload_makes_the_decoder_panic() {
    let encoded = message(&full_envelope(), &Content::Memory(b"text\n".as_slice().into())).unwrap();
    let payload = [&encoded.head[..], b"text\n"].concat();
    for end in 0..payload.len() {
        assert!(decode(Kind::Message, &payload[..end]).is_none(), "cut at {end}");
        for kind in [Kind::Update, Kind::Finish, Kind::Hold, Kind::Abort] {
            let _ = decode(kind, &payload[end..]);
        }
    }
    assert!(decode(Kind::Update, &[1, b'A', 0xff, 0xff, 0xff, 0xff, 0x7f]).is_none());
}
