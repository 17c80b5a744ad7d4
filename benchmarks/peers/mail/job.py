"""Telling people with Celery, SQLAlchemy and smtplib: a row for their inbox, and a mail."""

import os
import smtplib
import sys
import time
from email.message import EmailMessage
from email.utils import localtime, make_msgid

from celery import Celery
from sqlalchemy import ForeignKey, Text, create_engine, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

app = Celery("job", broker=os.environ["BENCH_VALKEY"])
app.conf.update(
    task_acks_late=True,  # a worker that dies loses nothing
    task_ignore_result=True,
    worker_prefetch_multiplier=16,  # the tasks are short
    broker_connection_retry_on_startup=True,
)
engine = create_engine(os.environ["BENCH_POSTGRES"])


class Base(DeclarativeBase):
    """The tables of an application."""


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]


class Preference(Base):
    __tablename__ = "preferences"
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    enabled: Mapped[bool]


class Notification(Base):
    __tablename__ = "notifications"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    title: Mapped[str]
    body: Mapped[str] = mapped_column(Text)
    read_at: Mapped[float | None]
    mailed_at: Mapped[float | None]


@app.task(name="deliver", bind=True, autoretry_for=(OSError,), retry_backoff=True, max_retries=5)
def deliver(self, user_id: int, title: str, data: dict) -> None:
    """Tell one person, in the inbox and by mail, unless they do not want that."""
    text = "\n".join(f"{name}: {value}" for name, value in data.items())
    with Session(engine) as session:
        user = session.get_one(User, user_id)
        refused = session.scalars(select(Preference.channel).filter_by(user_id=user_id, enabled=False)).all()
        notification = session.get(Notification, self.request.id)  # there, if this is another attempt
        if notification is None:
            notification = Notification(id=self.request.id, user_id=user_id, title=title, body=text)
            session.add(notification)
            session.commit()
        if "email" not in refused and notification.mailed_at is None:
            send(user, title, text)
            notification.mailed_at = time.time()
            session.commit()


def send(user: User, title: str, text: str) -> None:
    """Send a mail as frameworks do: over a connection of its own."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.org", f"{user.name} <{user.email}>", title
    message["Date"], message["Message-ID"] = localtime(), make_msgid(domain="example.org")
    message.set_content(text)
    with smtplib.SMTP("127.0.0.1", int(os.environ["BENCH_SMTP"]), local_hostname="client.example") as server:
        server.send_message(message)


def prepare(people: int) -> None:
    """Make the tables, and people who want everything."""
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        users = [{"id": n, "name": "Ada Lovelace", "email": f"{n}@example.org"} for n in range(people)]
        connection.execute(insert(User), users)


def publish(events: int, people: int) -> None:
    """Enqueue a task for each event."""
    items = [{"sku": f"SKU-{i:05d}", "quantity": i % 7 + 1, "price": "19.90"} for i in range(5)]
    for at in range(events):
        data = {"order_id": f"A-{at}", "customer": {"id": at % 1000, "name": "Zoë Müller"}, "items": items}
        app.send_task("deliver", (at % people, "Order shipped", data))


if __name__ == "__main__":
    name, *numbers = sys.argv[1:]
    {"prepare": prepare, "publish": publish}[name](*map(int, numbers))
