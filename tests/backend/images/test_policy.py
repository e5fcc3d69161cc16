"""Which hosts and addresses an image may be fetched from; redirects are no way around."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from backend.errors import ImageProblem, ImageRefused
from backend.images import ImageFetcher
from backend.images.download import GuardedAdapter
from backend.images.policy import HostPolicy
from backend.studio import Studio
from backend.watchdog import Watchdog
from tests.backend.images.pictures import LOOPBACK, PNG, image_calls
from tests.fakes.http_server import Answer, Call, serve
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit


class TestPolicy:
    def test_unlisted_host_gets_no_request(self, images: ImageFetcher) -> None:
        calls: list[Call] = []
        with serve(calls.append) as other, pytest.raises(ImageRefused, match="CLICKPICK_ALLOWED_HOSTS"):
            images.get(f"{other}/a.png", 1)
        assert calls == []

    def test_another_port_of_label_studios_host_is_another_origin(self, images: ImageFetcher) -> None:
        with serve(lambda _: Answer(PNG)) as other, pytest.raises(ImageRefused):
            images.get(f"{other}/data/upload/1/a.png", 1)

    def test_listed_name_at_a_private_address_gets_no_request(self, studio: Studio) -> None:
        calls: list[Call] = []
        with serve(calls.append) as other, pytest.raises(ImageRefused, match="no public address"):
            ImageFetcher(studio, allowed_hosts=["*"]).get(other.replace("127.0.0.1", "localhost"), 1)
        assert calls == []

    def test_listed_network_may_be_private_and_sees_no_token(self, studio: Studio) -> None:
        calls: list[Call] = []

        def answer(call: Call) -> Answer:
            calls.append(call)
            return Answer(PNG)

        with serve(answer) as other:
            found = ImageFetcher(studio, allowed_hosts=LOOPBACK).get(f"{other}/a.png?signature=1", 1)
        assert found.array.shape == (5, 7, 3)
        assert calls[0].query == {"signature": "1"}
        assert "authorization" not in calls[0].headers

    def test_a_name_that_turns_private_is_caught_when_connecting(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[Call] = []
        real = socket.getaddrinfo
        asked: list[str] = []

        def rebinding(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host == "rebind.example":
                asked.append(host)
                host = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
            return real(host, port, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        images = ImageFetcher(studio, allowed_hosts=["rebind.example"])
        with serve(calls.append) as other:
            url = other.replace("127.0.0.1", "rebind.example")
            with pytest.raises(ImageRefused, match=r"127\.0\.0\.1.*no public"):
                images.get(f"{url}/a.png", 1)
        assert len(asked) == 2
        assert calls == []

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
            "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1",
            "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
            "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:c0a8:101::", "2001:0:4136:e378::1",
            "2001:db8::1", "::127.0.0.1", "::ffff:0:127.0.0.1", "fec0::1", "64:ff9b:1::7f00:1", "not an address",
        ],
    )  # fmt: skip
    def test_private_addresses(self, address: str) -> None:
        with pytest.raises(ImageRefused, match="no public address"):
            HostPolicy(["*"]).check_address(address, "host")

    @pytest.mark.parametrize(
        "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
    )
    def test_public_addresses(self, address: str) -> None:
        HostPolicy([]).check_address(address, "host")

    @pytest.mark.parametrize(
        ("url", "allowed"),
        [
            ("http://images.example.com/x", True),
            ("http://IMAGES.example.com./x", True),
            ("http://a.cdn.example.org/x", True),
            ("http://cdn.example.org/x", False),
            ("http://images.example.com.evil.org/x", False),
            ("http://evil.org/images.example.com", False),
            ("http://images.example.com@evil.org/", False),
            ("http://10.20.3.4/x", True),
            ("http://10.21.3.4/x", False),
        ],
    )
    def test_listed_hosts(self, url: str, allowed: bool) -> None:
        policy = HostPolicy(["Images.Example.com", "*.cdn.example.org", "10.20.0.0/16"])
        if allowed:
            policy.check_host(url)
        else:
            with pytest.raises(ImageRefused):
                policy.check_host(url)

    @pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost"])
    def test_other_spellings_of_loopback(self, host: str) -> None:
        with pytest.raises(ImageProblem):
            HostPolicy(["*"]).check_resolved(f"http://{host}/x")

    def test_unresolvable_host(self) -> None:
        with pytest.raises(ImageProblem, match="cannot be resolved"):
            HostPolicy(["*"]).check_resolved("http://no.such.host.invalid/x")

    def test_guard_is_on_both_schemes(self) -> None:
        adapter = GuardedAdapter(HostPolicy([]), Watchdog(5))
        names = {
            scheme: pool.ConnectionCls for scheme, pool in adapter.poolmanager.pool_classes_by_scheme.items()
        }
        assert set(names) == {"http", "https"}
        with socket.create_server(("127.0.0.1", 0)) as server:
            for connection in names.values():
                opened = connection("127.0.0.1", server.getsockname()[1], timeout=1)
                with pytest.raises(ImageRefused):
                    opened._new_conn()


class TestRedirects:
    def redirect(self, target: str, status: int = 302) -> Answer:
        return Answer(status=status, headers={"Location": target})

    def test_within_label_studio(self, fake: FakeLabelStudio, images: ImageFetcher) -> None:
        fake.pages["/old.png"] = self.redirect("/data/upload/1/a.png")
        fake.uploads["/data/upload/1/a.png"] = PNG
        assert images.get("/old.png", 1).array.shape == (5, 7, 3)

    def test_from_label_studio_to_another_host_is_checked(
        self, fake: FakeLabelStudio, images: ImageFetcher
    ) -> None:
        calls: list[Call] = []
        with serve(calls.append) as other:
            fake.pages["/open"] = self.redirect(f"{other}/x.png")
            with pytest.raises(ImageRefused, match="not allowed"):
                images.get("/open", 1)
        assert calls == []

    def test_cloud_redirect_needs_no_list_but_a_public_address(
        self, fake: FakeLabelStudio, images: ImageFetcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = fake.add_task(fake.add_project("<View/>"), {})
        calls: list[Call] = []

        def answer(call: Call) -> Answer:
            calls.append(call)
            return Answer(PNG)

        with serve(answer) as other:
            fake.cloud["s3://bucket/a.png"] = self.redirect(
                f"{other}/bucket/a.png?X-Amz-Signature=secret", 303
            )
            with pytest.raises(ImageRefused, match="no public address") as caught:
                images.get("s3://bucket/a.png", task)
            assert "secret" not in str(caught.value)
            assert calls == []
            monkeypatch.setattr("backend.images.policy._is_public", lambda _: True)
            assert images.get("s3://bucket/a.png", task).array.shape == (5, 7, 3)
        assert "authorization" not in calls[0].headers
        assert calls[0].query == {"X-Amz-Signature": "secret"}

    def test_back_to_label_studio_from_elsewhere_carries_the_token_only_there(
        self, fake: FakeLabelStudio, studio: Studio
    ) -> None:
        fake.uploads["/data/upload/1/a.png"] = PNG
        calls: list[Call] = []

        def answer(call: Call) -> Answer:
            calls.append(call)
            return self.redirect(fake.url + "/data/upload/1/a.png")

        with serve(answer) as other:
            assert ImageFetcher(studio, allowed_hosts=LOOPBACK).get(f"{other}/a", 1).array.shape == (5, 7, 3)
        assert "authorization" not in calls[0].headers

    def test_to_a_file(self, fake: FakeLabelStudio, images: ImageFetcher) -> None:
        fake.pages["/open"] = self.redirect("file:///etc/passwd")
        with pytest.raises(ImageRefused, match="expected http"):
            images.get("/open", 1)

    def test_without_end(self, fake: FakeLabelStudio, images: ImageFetcher) -> None:
        fake.pages["/loop"] = self.redirect("/loop")
        with pytest.raises(ImageProblem, match="more than 5 times"):
            images.get("/loop", 1)
        assert len(image_calls(fake)) == 6
