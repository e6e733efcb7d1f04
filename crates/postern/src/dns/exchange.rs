//! Questions over UDP, many in flight on few sockets whose random ports change; TCP where a reply was cut.

use super::wire::{self, Reply};
use policy::RecordType;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;

/// A socket serves so many questions, then another port takes over.
const QUESTIONS_PER_SOCKET: u32 = 256;

struct Waiting {
    name: Arc<str>,
    asked: Arc<str>,
    rtype: RecordType,
    done: oneshot::Sender<Reply>,
}

struct Channel {
    socket: UdpSocket,
    waiting: Mutex<HashMap<u16, Waiting>>,
    used: AtomicU32,
}

impl Channel {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u16, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(server: SocketAddr) -> io::Result<Arc<Self>> {
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // Port 0: the kernel picks an unpredictable free one.
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(server).await?;
        let channel = Arc::new(Self { socket, waiting: Mutex::default(), used: AtomicU32::new(0) });
        tokio::spawn(Self::receive(Arc::clone(&channel)));
        Ok(channel)
    }

    /// Hand replies to those who wait until the socket is worn out and nobody waits any more.
    async fn receive(self: Arc<Self>) {
        let mut buffer = vec![0; 4096];
        loop {
            let worn = self.used.load(Ordering::Relaxed) >= QUESTIONS_PER_SOCKET;
            if worn && self.lock().is_empty() {
                return;
            }
            // A worn socket looks up once a second whether anybody still waits.
            let Ok(received) = tokio::time::timeout(Duration::from_secs(1), self.socket.recv(&mut buffer)).await else {
                continue;
            };
            match received {
                Ok(length) => self.deliver(&buffer[..length]),
                // ICMP says that nobody listens there: no need to wait for the time-out.
                Err(_) => self.lock().drain().for_each(|(_, w)| drop(w.done.send(Reply::Unusable))),
            }
        }
    }

    fn deliver(&self, bytes: &[u8]) {
        if bytes.len() < 12 {
            return;
        }
        let id = u16::from_be_bytes([bytes[0], bytes[1]]);
        let mut waiting = self.lock();
        let Some(w) = waiting.get(&id) else { return };
        if let Some(reply) = wire::decode(bytes, id, &w.name, &w.asked, w.rtype)
            && let Some(w) = waiting.remove(&id)
        {
            // The asker may have given up.
            let _ = w.done.send(reply);
        }
    }
}

/// One name server.
pub struct Server {
    address: SocketAddr,
    channel: Mutex<Option<Arc<Channel>>>,
    random: Mutex<Vec<u8>>,
}

impl Server {
    /// A server at an address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, channel: Mutex::default(), random: Mutex::default() }
    }

    /// An id that nobody can guess; `None` without randomness, when no question can be asked safely.
    fn random_id(&self) -> Option<u16> {
        let mut pool = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < 2 {
            pool.resize(512, 0);
            if getrandom::fill(&mut pool).is_err() {
                pool.clear();
                return None;
            }
        }
        Some(u16::from_be_bytes([pool.pop()?, pool.pop()?]))
    }

    async fn channel(&self) -> io::Result<Arc<Channel>> {
        {
            let current = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(channel) = current.as_ref()
                && channel.used.fetch_add(1, Ordering::Relaxed) < QUESTIONS_PER_SOCKET
            {
                return Ok(Arc::clone(channel));
            }
        }
        let channel = Channel::open(self.address).await?;
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&channel));
        Ok(channel)
    }

    /// Ask once; `Unusable` after the time-out, too.
    pub async fn ask(&self, name: &Arc<str>, asked: &Arc<str>, rtype: RecordType, timeout: Duration) -> Reply {
        let reply = tokio::time::timeout(timeout, self.ask_udp(name, asked, rtype)).await;
        match reply {
            Ok(Some(Reply::Truncated)) => {
                tokio::time::timeout(timeout, self.ask_tcp(name, asked, rtype)).await.ok().flatten()
            }
            Ok(other) => other,
            Err(_) => None,
        }
        .unwrap_or(Reply::Unusable)
    }

    async fn ask_udp(&self, name: &Arc<str>, asked: &Arc<str>, rtype: RecordType) -> Option<Reply> {
        let channel = self.channel().await.ok()?;
        let (done, answer) = oneshot::channel();
        let id = {
            let mut waiting = channel.lock();
            let mut id = self.random_id()?;
            while waiting.contains_key(&id) {
                id = id.wrapping_add(1);
            }
            waiting.insert(id, Waiting { name: Arc::clone(name), asked: Arc::clone(asked), rtype, done });
            id
        };
        // Whatever ends the wait (time-out included), the slot is given back.
        let _slot = Slot { channel: &channel, id };
        channel.socket.send(&wire::encode(id, name, rtype)?).await.ok()?;
        answer.await.ok()
    }

    async fn ask_tcp(&self, name: &Arc<str>, asked: &Arc<str>, rtype: RecordType) -> Option<Reply> {
        let id = self.random_id()?;
        let query = wire::encode(id, name, rtype)?;
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        let mut framed = u16::try_from(query.len()).ok()?.to_be_bytes().to_vec();
        framed.extend_from_slice(&query);
        stream.write_all(&framed).await.ok()?;
        let mut reply = vec![0; usize::from(stream.read_u16().await.ok()?)];
        stream.read_exact(&mut reply).await.ok()?;
        wire::decode(&reply, id, name, asked, rtype)
    }
}

struct Slot<'a> {
    channel: &'a Channel,
    id: u16,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.channel.lock().remove(&self.id);
    }
}
