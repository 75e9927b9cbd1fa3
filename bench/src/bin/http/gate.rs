//! What both floors stand on: a listener, and one epoll that watches it and everybody who came.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// Nobody's descriptor that was accepted.
const NEW: u64 = 0;

pub struct Gate {
    listener: TcpListener,
    epoll: OwnedFd,
}

/// Something to do.
pub enum Happens {
    /// Somebody is new.
    Comes(TcpStream),
    /// There may be something to read from him, or room to write to him.
    To(u64),
}

impl Gate {
    pub fn open(address: &str) -> Result<Gate> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(NEW), EventFlags::IN)?;
        Ok(Gate { listener, epoll })
    }

    /// Waits for ever, and has done what there is to do: for whoever comes, and for whomever something happens to, by his key.
    pub fn serve(&self, mut happens: impl FnMut(&Gate, Happens) -> Result<()>) -> Result<()> {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            for event in &events {
                match event.data.u64() {
                    // Who has gone already needs nothing.
                    NEW => {
                        self.listener.accept().map_or(Ok(()), |(stream, _)| happens(self, Happens::Comes(stream)))?
                    }
                    key => happens(self, Happens::To(key))?,
                }
            }
        }
    }

    /// Is told of whatever happens to a connection from now on, by this key.
    pub fn watch(&self, stream: &TcpStream) -> Result<u64> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let key = stream.as_raw_fd() as u64;
        epoll::add(&self.epoll, stream, EventData::new_u64(key), EventFlags::IN | EventFlags::OUT | EventFlags::ET)?;
        Ok(key)
    }
}
