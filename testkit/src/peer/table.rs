//! Table servers: tcp_table(5) and socketmap_table(5).

use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};

use super::{Address, Server, rules, serve};

/// tcp_table(5): rules `key => 200 value`, else `500 not%20found`.
#[derive(Debug)]
pub struct TcpTable {
    _server: Server,
}

impl TcpTable {
    /// Starts one.
    pub fn start(address: &Address, text: &str) -> io::Result<Self> {
        let table: HashMap<String, String> = rules(text).into_iter().collect();
        let _server = serve(address, move |mut reader, mut writer| {
            let mut line = String::new();
            while reader.read_line(&mut line)? > 0 {
                let key = line.trim_end_matches(['\r', '\n']).split_once(' ').map_or("", |(_, key)| key);
                let reply = table.get(key).map_or("500 not%20found", String::as_str);
                writer.write_all(format!("{reply}\n").as_bytes())?;
                line.clear();
            }
            Ok(())
        })?;
        Ok(Self { _server })
    }
}

/// socketmap_table(5): rules `name key => OK value`, else `NOTFOUND `.
#[derive(Debug)]
pub struct Socketmap {
    _server: Server,
}

impl Socketmap {
    /// Starts one.
    pub fn start(address: &Address, text: &str) -> io::Result<Self> {
        let table: HashMap<String, String> = rules(text).into_iter().collect();
        let _server = serve(address, move |mut reader, mut writer| {
            let mut digits = Vec::new();
            while reader.read_until(b':', &mut digits)? > 1 {
                let text = String::from_utf8_lossy(&digits[..digits.len() - 1]).into_owned();
                digits.clear();
                let length: usize = text.parse().map_err(|_| io::ErrorKind::InvalidData)?;
                let mut request = Vec::new();
                reader.by_ref().take(length as u64 + 1).read_to_end(&mut request)?;
                request.pop();
                let key = String::from_utf8_lossy(&request);
                let reply = table.get(key.as_ref()).map_or("NOTFOUND ", String::as_str);
                writer.write_all(format!("{}:{reply},", reply.len()).as_bytes())?;
            }
            Ok(())
        })?;
        Ok(Self { _server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn exchange(address: &Address, send: &str, want: &str) {
        let Address::Inet(at) = address else { unreachable!() };
        let mut stream = TcpStream::connect(at).expect("connect");
        stream.write_all(send.as_bytes()).expect("write");
        stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
        let mut got = String::new();
        stream.read_to_string(&mut got).expect("read");
        assert_eq!(got, want);
    }

    fn address() -> Address {
        Address::Inet(([127, 0, 0, 1], crate::ports::free_port()).into())
    }

    #[test]
    fn both_answer() {
        let (tcp, map) = (address(), address());
        let _tcp = TcpTable::start(&tcp, "a%20b => 200 yes").expect("tcp table");
        let _map = Socketmap::start(&map, "t key => OK value").expect("socketmap");
        exchange(&tcp, "get a%20b\nget c\n", "200 yes\n500 not%20found\n");
        exchange(&map, "5:t key,3:t x,", "8:OK value,9:NOTFOUND ,");
    }
}
