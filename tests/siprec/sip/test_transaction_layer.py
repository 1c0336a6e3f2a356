from siprec.sip.transaction import Action, Input, State, server_key
from siprec.sip.transaction_layer import TransactionLayer
from tests.siprec.sip.compose import (
    TCP,
    UDP,
    parse_request,
    parse_response,
    request,
    response_to,
)

BYE = parse_request(request("BYE", branch="z9hG4bK-ours"))
ANSWER = parse_response(response_to(bytes(BYE), 200))


def test_a_server_transaction_is_found_until_it_ends() -> None:
    layer, options = TransactionLayer(), parse_request(request("OPTIONS"))
    key = server_key(options, "OPTIONS")
    assert layer.server(key) is None
    server = layer.open_server(options, UDP, "t", 0.0)
    assert (server.id, server.to_tag, len(layer)) == (key, "t", 1)
    assert layer.server(key) is server
    layer.answer(server, ANSWER, 1.0)
    assert (server.request, layer.outgoing) == (None, [(UDP, bytes(ANSWER))])
    assert list(layer.due(32.9)) == []
    assert list(layer.due(33.0)) == [(server, ())]
    assert (layer.server(key), len(layer)) == (None, 0)


def test_a_tag_is_ours_to_give_only_where_to_has_none() -> None:
    server = TransactionLayer().open_server(parse_request(request(to_tag="x")), UDP, "t", 0.0)
    assert server.to_tag == ""


def test_the_same_request_on_another_path_is_merged() -> None:
    layer = TransactionLayer()
    first = layer.open_server(parse_request(request()), UDP, "t", 0.0)
    second = layer.open_server(parse_request(request(branch="z9hG4bK-2")), UDP, "u", 0.0)
    other = layer.open_server(parse_request(request(cseq=2)), UDP, "v", 0.0)
    within = layer.open_server(parse_request(request(branch="z9hG4bK-3", to_tag="t")), UDP, "", 0.0)
    merged = [layer.is_merged(server) for server in (first, second, other, within)]
    assert merged == [False, True, False, False]


def test_a_merged_transaction_that_ends_first_leaves_the_other_known() -> None:
    layer = TransactionLayer()
    layer.open_server(parse_request(request()), UDP, "t", 0.0)
    second = layer.open_server(parse_request(request(branch="z9hG4bK-2")), TCP, "u", 0.0)
    layer.answer(second, ANSWER, 0.0)
    list(layer.due(32.0))
    third = layer.open_server(parse_request(request(branch="z9hG4bK-3")), UDP, "u", 0.0)
    assert layer.is_merged(third)


def test_our_request_and_its_response() -> None:
    layer = TransactionLayer()
    layer.send(BYE, "z9hG4bK-ours", UDP, "dialog", 0.0)
    assert layer.outgoing == [(UDP, bytes(BYE))]
    assert layer.is_waiting
    client = layer.client(ANSWER)
    assert client and (client.dialog_id, client.state) == ("dialog", State.TRYING)
    assert layer.step(client, Input.SUCCESS, 0.1) == (Action.FINISHED,)
    assert not layer.is_waiting
    assert layer.client(ANSWER) is client
    list(layer.due(5.1))
    assert layer.client(ANSWER) is None


def test_responses_nobody_waits_for() -> None:
    layer = TransactionLayer()
    layer.send(BYE, "z9hG4bK-ours", UDP, "dialog", 0.0)
    stray = request("BYE", branch="z9hG4bK-stray")
    assert layer.client(parse_response(response_to(stray, 200))) is None
    other = request("OPTIONS", branch="z9hG4bK-ours")
    assert layer.client(parse_response(response_to(other, 200))) is None


def test_clients_on_a_connection() -> None:
    layer = TransactionLayer()
    layer.send(BYE, "z9hG4bK-1", TCP, "a", 0.0)
    layer.send(BYE, "z9hG4bK-2", UDP, "b", 0.0)
    assert [client.dialog_id for client in layer.clients_on(7)] == ["a"]


def test_nothing_is_sent_before_there_is_an_answer() -> None:
    layer = TransactionLayer()
    server = layer.open_server(parse_request(request()), UDP, "t", 0.0)
    layer.step(server, Input.REQUEST, 0.1)
    assert layer.outgoing == []
