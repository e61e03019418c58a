//! iceoryx2: one publisher, one subscriber, without loss. The subscriber is polled; the
//! publisher waits by itself. In place, its loans.
#![allow(unsafe_code)] // loans that are not initialised

use std::io;

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{
    BackpressureStrategy, Config, FileName, LogLevel, Node, NodeBuilder, Path, SemanticString,
    SignalHandlingMode, ipc, set_log_level,
};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

use super::in_place::initialised;
use crate::channel::{
    Channel, Receiver, ReceiverInPlace, Sender, SenderInPlace, Spec, other, spin,
};
use crate::name::Name;

/// The most samples that may wait; at least two.
const DEPTH: usize = 8192;

pub(crate) struct Service {
    name: Name,
    block: usize,
    depth: usize,
}

pub(crate) struct Port<P> {
    port: P,
    _service: PortFactory<ipc::Service, [u8], ()>,
    _node: Node<ipc::Service>,
}

type Tx = Publisher<ipc::Service, [u8], ()>;
type Rx = Subscriber<ipc::Service, [u8], ()>;
/// A node, and the service that it has joined.
type Joined = (Node<ipc::Service>, PortFactory<ipc::Service, [u8], ()>);

impl Service {
    fn join(&self) -> io::Result<Joined> {
        set_log_level(LogLevel::Fatal);
        let name = self.name.as_str();
        let mut config = Config::default();
        let root = self.name.path();
        let root = root.to_str().expect("a path of letters");
        config
            .global
            .set_root_path(&Path::new(root.as_bytes()).map_err(other)?);
        config.global.prefix = FileName::new(format!("{name}_").as_bytes()).map_err(other)?;
        let node = NodeBuilder::new()
            .config(&config)
            .signal_handling_mode(SignalHandlingMode::Disabled)
            .create::<ipc::Service>()
            .map_err(other)?;
        let service = node
            .service_builder(&name.try_into().map_err(other)?)
            .publish_subscribe::<[u8]>()
            .max_publishers(1)
            .max_subscribers(1)
            .history_size(0)
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(self.depth)
            .open_or_create()
            .map_err(other)?;
        Ok((node, service))
    }
}

impl Channel for Service {
    type Sender = Port<Tx>;
    type Receiver = Port<Rx>;

    fn open(spec: &Spec) -> io::Result<Service> {
        let depth = (spec.capacity / spec.block).clamp(2, DEPTH);
        Ok(Service {
            name: Name::new(),
            block: spec.block,
            depth,
        })
    }

    fn sender(self) -> io::Result<Port<Tx>> {
        let (node, service) = self.join()?;
        let port = service
            .publisher_builder()
            .initial_max_slice_len(self.block)
            .max_loaned_samples(1)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .map_err(other)?;
        Ok(Port {
            port,
            _service: service,
            _node: node,
        })
    }

    fn receiver(self) -> io::Result<Port<Rx>> {
        let (node, service) = self.join()?;
        let port = service
            .subscriber_builder()
            .buffer_size(self.depth)
            .create()
            .map_err(other)?;
        Ok(Port {
            port,
            _service: service,
            _node: node,
        })
    }
}

impl Sender for Port<Tx> {
    #[inline(always)]
    fn send(&mut self, block: &[u8]) {
        let sample = self.port.loan_slice_uninit(block.len()).unwrap();
        sample.write_from_slice(block).send().unwrap();
    }
}

impl Receiver for Port<Rx> {
    #[inline(always)]
    fn receive(&mut self, block: &mut [u8]) {
        let sample = spin(|| self.port.receive().unwrap());
        block.copy_from_slice(sample.payload());
    }
}

impl SenderInPlace for Port<Tx> {
    #[inline(always)]
    fn send_in_place(&mut self, len: usize, mut make: impl FnMut(&mut [u8])) {
        let mut sample = self.port.loan_slice_uninit(len).unwrap();
        // SAFETY: the memory is the kernel's, so it is initialised.
        make(unsafe { initialised(sample.payload_mut()) });
        // SAFETY: all bytes are initialised.
        unsafe { sample.assume_init() }.send().unwrap();
    }
}

impl ReceiverInPlace for Port<Rx> {
    #[inline(always)]
    fn receive_in_place(&mut self, len: usize, mut check: impl FnMut(&[u8])) {
        let sample = spin(|| self.port.receive().unwrap());
        check(&sample.payload()[..len]);
    }
}
