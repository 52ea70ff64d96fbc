"""Confluent's serializers, as their users call them.

    serializers.py REGISTRY_URL

Reads a command a line (JSON) and answers each with a line: what was written, in base64, or what was read.
"""

import base64
import json
import sys

from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

registry = SchemaRegistryClient({"url": sys.argv[1]})
by_topic = {"subject.name.strategy": topic_subject_name_strategy}


def messages():
    """What testdata/order.proto of the client says, as far as it is needed here."""
    file = descriptor_pb2.FileDescriptorProto(name="order.proto", package="shop", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    order = file.message_type.add(name="Order")
    order.field.add(name="id", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    order.field.add(name="cents", number=2, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    order.field.add(name="lines", number=3, type=field.TYPE_MESSAGE, label=field.LABEL_REPEATED, type_name=".shop.Order.Line")
    order.field.add(name="counts", number=5, type=field.TYPE_MESSAGE, label=field.LABEL_REPEATED, type_name=".shop.Order.CountsEntry")
    line = order.nested_type.add(name="Line")
    line.field.add(name="sku", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    # The hidden message of the map, where a compiler puts it: it counts among the nested ones.
    entry = order.nested_type.add(name="CountsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    note = order.nested_type.add(name="Note")
    note.field.add(name="text", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    refund = file.message_type.add(name="Refund")
    refund.field.add(name="order_id", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ["shop.Order", "shop.Order.Note", "shop.Refund"]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names}


classes = messages()


def serializer(command, conf):
    kind = command["format"]
    if kind == "avro":
        return AvroSerializer(registry, command["schema"], conf={**by_topic, **conf})
    if kind == "json":
        return JSONSerializer(command["schema"], registry, conf={**by_topic, **conf})
    return ProtobufSerializer(classes[command["message"]], registry, conf={**by_topic, **conf})


def write(command):
    headers = []
    conf = {"schema.id.serializer": header_schema_id_serializer} if command.get("inHeader") else {}
    context = SerializationContext(command["topic"], MessageField.VALUE, headers)
    value = command["value"]
    if command["format"] == "protobuf":
        value = json_format.ParseDict(value, classes[command["message"]]())
    written = serializer(command, conf)(value, context)
    encoded = [[name, base64.b64encode(content).decode()] for name, content in headers]
    return {"bytes": base64.b64encode(written).decode(), "headers": encoded}


def read(command):
    context = SerializationContext(command["topic"], MessageField.VALUE, [])
    content = base64.b64decode(command["bytes"])
    kind = command["format"]
    if kind == "avro":
        return {"value": AvroDeserializer(registry, command.get("schema"), conf=by_topic)(content, context)}
    if kind == "json":
        return {"value": JSONDeserializer(command.get("schema"), schema_registry_client=registry, conf=by_topic)(content, context)}
    # The text of a file is no compiled one, which it would ask the registry for: it reads by its own class alone.
    found = ProtobufDeserializer(classes[command["message"]], by_topic)(content, context)
    return {"value": json_format.MessageToDict(found)}


for line in sys.stdin:
    command = json.loads(line)
    try:
        answer = write(command) if command["do"] == "write" else read(command)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
