//! The way of a response to its caller: at once, or in the order of the requests.

use crate::error::Error;
use crate::request::Response;
use parking_lot::Mutex;
use skysail_policy::priority::Priority;
use skysail_policy::response_order::{Place, ResponseOrders};
use std::sync::Arc;
use tokio::sync::oneshot;

type Channel = oneshot::Sender<Result<Response, Error>>;

/// A response, and who waits for it.
type Held = (Channel, Result<Response, Error>);

/// Responses of one model that leave in the order of their requests, at each priority level.
#[derive(Clone, Default)]
pub(crate) struct SharedOrder(Arc<Mutex<ResponseOrders<Held>>>);

/// Sends the response of one request.
pub(crate) struct ReplySender {
    channel: Option<Channel>,
    turn: Option<(SharedOrder, Place)>,
}

impl From<Channel> for ReplySender {
    /// Sends at once.
    fn from(channel: Channel) -> Self {
        Self { channel: Some(channel), turn: None }
    }
}

impl ReplySender {
    /// Sends after the responses of all requests of its level that have come before.
    pub(crate) fn in_order(channel: Channel, order: &SharedOrder, level: Priority) -> Self {
        let place = order.0.lock().take(level);
        Self { channel: Some(channel), turn: Some((order.clone(), place)) }
    }

    /// Sends the response. A caller that has left gets none.
    pub(crate) fn send(mut self, response: Result<Response, Error>) {
        let Some(channel) = self.channel.take() else { return };
        match self.turn.take() {
            None => drop(channel.send(response)),
            Some((order, place)) => order.give_back(place, Some((channel, response))),
        }
    }

    /// True if the caller has left.
    pub(crate) fn is_closed(&self) -> bool {
        self.channel.as_ref().is_none_or(Channel::is_closed)
    }

    /// The channel, which tells when the caller leaves.
    pub(crate) fn channel(&mut self) -> Option<&mut Channel> {
        self.channel.as_mut()
    }
}

impl Drop for ReplySender {
    /// Lets those behind it go on without its response.
    fn drop(&mut self) {
        if let Some((order, place)) = self.turn.take() {
            order.give_back(place, None);
        }
    }
}

impl SharedOrder {
    fn give_back(&self, place: Place, response: Option<(Channel, Result<Response, Error>)>) {
        // Sending wakes callers: not under the lock.
        let free = self.0.lock().give_back(place, response);
        for (channel, response) in free {
            drop(channel.send(response));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(number: u64) -> Result<Response, Error> {
        Err(Error::TimedOut { timeout_us: number })
    }

    #[test]
    fn a_response_waits_for_those_before_it_unless_they_never_come() {
        let order = SharedOrder::default();
        let (channels, mut receivers): (Vec<_>, Vec<_>) =
            (0..4).map(|_| oneshot::channel()).unzip();
        let in_order = |channel| ReplySender::in_order(channel, &order, Priority::default());
        let mut senders: Vec<ReplySender> = channels.into_iter().map(in_order).collect();
        let mut has = |at: usize| receivers[at].try_recv().is_ok();
        let (last, third, second) = (senders.pop(), senders.pop(), senders.pop());
        second.unwrap().send(error(1));
        last.unwrap().send(error(3));
        assert!(!has(1) && !has(3), "the first is not there");
        senders.pop().unwrap().send(error(0));
        assert!(has(0) && has(1) && !has(3));
        drop(third);
        assert!(has(3));
    }
}
