//! Whoever sends slowly.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::Desk;

/// A request whose body has not been sent yet.
pub struct Stalled(BufReader<TcpStream>);

impl Stalled {
    /// Sends the head of a request such as `PUT /path`; and the status of the first answer to it, 100 if the server waits for
    /// the body.
    pub async fn begin(url: &str, request: &str, headers: &[(&str, &str)], bytes: usize) -> (Self, u16) {
        let host = url.strip_prefix("http://").unwrap();
        let mut stream = BufReader::new(TcpStream::connect(host).await.unwrap());
        let headers =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        let head = format!(
            "{request} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {bytes}\r\nexpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut stalled = Self(stream);
        let status = stalled.status().await;
        (stalled, status)
    }

    async fn status(&mut self) -> u16 {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.split(' ').nth(1).unwrap_or_else(|| panic!("{line:?}")).parse().unwrap()
    }

    /// Sends the body after all.
    async fn end(mut self, body: &str) -> u16 {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        assert_eq!(line, "\r\n", "nothing but 100 Continue so far");
        self.0.write_all(body.as_bytes()).await.unwrap();
        let status = self.status().await;
        // What is left of the answer ends with the connection.
        self.0.get_mut().shutdown().await.unwrap();
        self.0.read_to_end(&mut Vec::new()).await.unwrap();
        status
    }
}

/// One advertiser began four uploads and sent nothing more. They held the places of all until they were given up, a minute later: no
/// other advertiser had insights or could upload, for as long as somebody began anew.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_stall_keep_nobody_else_waiting() {
    let desk = Desk::start().await;
    let (slow, other) = (desk.advertiser("slow").await, desk.advertiser("other").await);
    let campaign = desk.campaign(&slow, "Spring").await;
    desk.campaign(&other, "Spring").await;
    let (slow_key, other_key) = (desk.key(&slow, "manage").await, desk.key(&other, "manage").await);
    let csv = format!("day,campaign,impressions,clicks,spend\n2027-01-05,{campaign},10,1,2.50\n");
    let (path, bearer) = (format!("{slow}/delivery"), format!("Bearer {slow_key}"));
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/csv")];
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let (one, status) = Stalled::begin(&desk.url, &format!("PUT {path}"), &headers, csv.len()).await;
        assert_eq!(status, 100);
        stalled.push(one);
    }
    let insights = "/v1/insights?level=account&from=2027-01-05&to=2027-01-06&granularity=total";
    desk.get(insights, &other_key).expect(200).await;
    let upload = desk.ask("PUT", &format!("{other}/delivery"), Some(&other_key));
    upload
        .body("text/csv", "day,campaign,impressions,clicks,spend\n2027-01-05,Spring,10,1,2.50\n")
        .expect(200)
        .await;
    // Its own share is taken, and a fifth is told so at once.
    let refused = desk.ask("PUT", &path, Some(&slow_key)).body("text/csv", csv.clone()).send().await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("retry-after")),
        (503, Some("2")),
        "{}",
        refused.text()
    );
    // And all this while they were still under way.
    for one in stalled {
        assert_eq!(one.end(&csv).await, 200);
    }
    desk.deployment.stop().await;
}
