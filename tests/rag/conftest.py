"""The bundled embedder, loaded once, and a small corpus for the tests of part 1."""

import hashlib

import pytest

from labkit.rag.chunk import chunk_documents
from labkit.rag.embed import load_embedder
from labkit.rag.index import FaissStore
from labkit.rag.ingest import Document

TEXTS = {
    "pump": "The KX-200 pump weighs 12 kilograms. It moves 40 litres of water a minute.",
    "canteen": "The canteen opens at noon. Soup is served on Tuesdays and fish on Fridays.",
    "leave": "Every employee has 28 days of holiday. Ask your manager two weeks ahead.",
    "travel": "Trains are preferred for journeys below 600 kilometres. Flights need approval.",
    "security": "Badges must be worn visibly. Report a lost badge to the front desk at once.",
    "valve": "The KX-310 valve is made of brass and closes within two seconds.",
    "parking": "Parking permits cost 15 euros a month and are issued by the front desk.",
}


def document(name: str, text: str, title: str = "", pages: tuple[int, ...] = ()) -> Document:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Document(name, title, text, "text", digest, pages)


@pytest.fixture(scope="session")
def embedder():
    return load_embedder("bundled")


@pytest.fixture(scope="session")
def chunks(embedder):
    documents = [document(f"{name}.txt", text, name.title()) for name, text in TEXTS.items()]
    return chunk_documents(documents, embedder.tokenizer, size=24, overlap=4)


@pytest.fixture
def store(chunks, embedder):
    return FaissStore.from_chunks(chunks, embedder)
