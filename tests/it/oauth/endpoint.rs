//! A scripted token endpoint.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
};

/// A token endpoint that responds as a test requires.
pub struct Endpoint {
    pub url: String,
    /// The requests, with their heads.
    pub requests: Receiver<String>,
}

impl Endpoint {
    /// Starts an endpoint. `respond` gets the number of the request, from 1 on, and returns the
    /// status, further header fields and the content.
    pub fn start(respond: impl Fn(usize) -> (u16, String, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let (send, requests) = channel();
        thread::spawn(move || {
            for (n, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let request = read(&mut stream);
                if send.send(request).is_err() {
                    return;
                }
                let (status, fields, body) = respond(n + 1);
                let response = format!(
                    "HTTP/1.1 {status} x\r\nContent-Length: {}\r\n{fields}\r\n{body}",
                    body.len()
                );
                // the client may have been killed
                let _ = stream.write_all(response.as_bytes());
            }
        });
        Self { url, requests }
    }

    /// Starts an endpoint that always sends this response.
    pub fn always(status: u16, body: &str) -> Self {
        let body = body.to_owned();
        Self::start(move |_| (status, String::new(), body.clone()))
    }
}

/// Reads a request with its form.
fn read(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length.split_once("content-length: ");
            let length = length.map_or(0, |(_, rest)| {
                rest.split("\r\n").next().unwrap().parse().unwrap()
            });
            if body.len() >= length {
                return text;
            }
        }
        let mut buffer = [0; 4096];
        let bytes = stream.read(&mut buffer).unwrap();
        assert_ne!(bytes, 0, "the request is incomplete: {text}");
        request.extend_from_slice(&buffer[..bytes]);
    }
}
