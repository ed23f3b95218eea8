//! A name server on loopback, over UDP and TCP.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, RCODE, ResourceRecord, TYPE,
    rdata::{MX, RData, SRV},
};

/// What the server does with a question.
#[derive(Clone)]
pub enum Reply {
    /// Answers with these records: priority, port and target of a service.
    Srv(Vec<(u16, u16, &'static str)>),
    /// Answers with these mail exchangers.
    Mx(Vec<&'static str>),
    /// Answers that the name does not exist.
    NoName,
    /// Answers that it failed.
    Failure,
    /// Sends nothing.
    Silence,
    /// Answers over UDP that the answer is too long, and over TCP with this.
    Long(Box<Reply>),
    /// Sends this from another port, with another ID and with another name, and then the second
    /// one.
    Forged(Box<Reply>, Box<Reply>),
    /// Sends these bytes.
    Bytes(Vec<u8>),
}

/// A name server, which runs until the test ends.
pub struct NameServer {
    address: SocketAddr,
    questions: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    /// Starts a server. `reply` gets the name and the type, as in `MX example.org`.
    pub fn start(reply: impl Fn(&str) -> Reply + Clone + Send + 'static) -> Self {
        let (socket, listener) = (0..20)
            .find_map(|_| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let listener = TcpListener::bind(socket.local_addr().unwrap()).ok()?;
                Some((socket, listener))
            })
            .expect("a port that is free for UDP and TCP");
        let address = socket.local_addr().unwrap();
        let questions = Arc::<Mutex<Vec<String>>>::default();
        let (log, own) = (Arc::clone(&questions), reply.clone());
        thread::spawn(move || by_udp(&socket, &own, &log));
        let log = Arc::clone(&questions);
        thread::spawn(move || by_tcp(&listener, &reply, &log));
        Self { address, questions }
    }

    /// Returns the value of the variable that makes pouch ask this server.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns the questions: the type, the name, and `over TCP`.
    pub fn questions(&self) -> Vec<String> {
        self.questions.lock().unwrap().clone()
    }
}

/// Returns a question as a test writes it.
fn shown(packet: &Packet<'_>) -> String {
    let [question] = packet.questions.as_slice() else {
        panic!("not one question: {packet:?}");
    };
    let kind = match question.qtype {
        simple_dns::QTYPE::TYPE(TYPE::SRV) => "SRV",
        simple_dns::QTYPE::TYPE(TYPE::MX) => "MX",
        _ => panic!("{question:?}"),
    };
    format!("{kind} {}", question.qname)
}

fn by_udp(socket: &UdpSocket, reply: &dyn Fn(&str) -> Reply, log: &Mutex<Vec<String>>) {
    let mut buffer = [0; 512];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).unwrap();
        let packet = Packet::parse(&buffer[..length]).unwrap();
        let question = shown(&packet);
        log.lock().unwrap().push(question.clone());
        let answer = match reply(&question) {
            Reply::Silence => continue,
            Reply::Long(_) => {
                let mut answer = answer(&packet, &Reply::NoName);
                answer[2] |= 0x02;
                answer
            }
            Reply::Forged(forged, right) => {
                let bytes = self::answer(&packet, &forged);
                let other = UdpSocket::bind("127.0.0.1:0").unwrap();
                other.send_to(&bytes, client).unwrap();
                let mut wrong_id = bytes.clone();
                wrong_id[0] ^= 1;
                socket.send_to(&wrong_id, client).unwrap();
                let mut wrong_name = bytes;
                wrong_name[13] ^= 1;
                socket.send_to(&wrong_name, client).unwrap();
                self::answer(&packet, &right)
            }
            reply => answer(&packet, &reply),
        };
        socket.send_to(&answer, client).unwrap();
    }
}

fn by_tcp(listener: &TcpListener, reply: &dyn Fn(&str) -> Reply, log: &Mutex<Vec<String>>) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut bytes).unwrap();
        let packet = Packet::parse(&bytes).unwrap();
        let question = shown(&packet);
        log.lock().unwrap().push(format!("{question} over TCP"));
        let answer = match reply(&question) {
            Reply::Long(reply) => answer(&packet, &reply),
            _ => panic!("no answer over TCP"),
        };
        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
        // in pieces, as a slow network delivers them
        stream.write_all(&length[..1]).unwrap();
        stream.write_all(&length[1..]).unwrap();
        stream.write_all(&answer).unwrap();
    }
}

/// Returns the packet of an answer.
fn answer(question: &Packet<'_>, reply: &Reply) -> Vec<u8> {
    let mut packet = Packet::new_reply(question.id());
    packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
    packet.questions.clone_from(&question.questions);
    let name = question.questions[0].qname.clone();
    let record = |data| ResourceRecord::new(name.clone(), CLASS::IN, 60, data);
    match reply {
        Reply::Srv(services) => packet.answers.extend(services.iter().map(|service| {
            record(RData::SRV(SRV {
                priority: service.0,
                weight: 1,
                port: service.1,
                target: Name::new_unchecked(service.2),
            }))
        })),
        Reply::Mx(hosts) => packet.answers.extend(hosts.iter().map(|host| {
            record(RData::MX(MX {
                preference: 10,
                exchange: Name::new_unchecked(host),
            }))
        })),
        Reply::NoName => *packet.rcode_mut() = RCODE::NameError,
        Reply::Failure => *packet.rcode_mut() = RCODE::ServerFailure,
        Reply::Bytes(bytes) => {
            let mut all = question.id().to_be_bytes().to_vec();
            all.extend(bytes);
            return all;
        }
        Reply::Silence | Reply::Long(_) | Reply::Forged(..) => unreachable!(),
    }
    packet.build_bytes_vec().unwrap()
}
