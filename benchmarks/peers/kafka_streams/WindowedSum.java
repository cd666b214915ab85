import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyWindowStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The peer: Kafka Streams, one thread, an in-memory window store (with changelog and record cache, as by default), and
 * one sum of shares per server and second of event time.
 *
 * Arguments: BOOTSTRAP TOPIC EVENTS CODEC APPLICATION_ID STATE_FOLDER OUTPUT [QTY_AT TS_AT] (byte offsets, SBE only).
 * Writes what it summed and how long that took to OUTPUT as JSON, and ends.
 */
public final class WindowedSum
{
    private static final String STORE = "shares";
    private static final Duration WINDOW = Duration.ofSeconds(1);
    private static final Duration GRACE = Duration.ofDays(1);

    private static long expected;
    private static long processed;
    private static long beganNs;
    private static long beganCpuNs;
    private static volatile long tookNs;
    private static volatile long tookCpuNs;
    private static final CountDownLatch DONE = new CountDownLatch(1);

    /** An event as Jackson binds it: every field of the schema. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class Event
    {
        public int v;
        public String kind;
        public String server;
        public long seq;
        public long ts;
        public String parent_id;
        public String cl_ord_id;
        public String orig_cl_ord_id;
        public String exec_id;
        public String symbol;
        public String strategy;
        public String account;
        public String venue;
        public String side;
        public long qty;
        public double px;
        public double bid;
        public double ask;
        public String phase;
        public boolean poss_dup;
    }

    private static Deserializer<Event> json()
    {
        final ObjectReader reader = new ObjectMapper().readerFor(Event.class);
        return (topic, data) ->
        {
            try
            {
                return reader.readValue(data);
            }
            catch (final IOException error)
            {
                throw new UncheckedIOException(error);
            }
        };
    }

    /** Only the two numbers that the sum needs are read. */
    private static Deserializer<Event> sbe(final int qtyAt, final int tsAt)
    {
        return (topic, data) ->
        {
            final ByteBuffer buffer = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
            final Event event = new Event();
            event.qty = buffer.getLong(qtyAt);
            event.ts = buffer.getLong(tsAt);
            return event;
        };
    }

    private static void begin()
    {
        if (processed == 0)
        {
            beganNs = System.nanoTime();
            beganCpuNs = cpuNs();
        }
    }

    private static long add(final long sum, final Event event)
    {
        final long result = sum + event.qty;
        if (++processed == expected)
        {
            tookNs = System.nanoTime() - beganNs;
            tookCpuNs = cpuNs() - beganCpuNs;
            DONE.countDown();
        }
        return result;
    }

    private static long cpuNs()
    {
        return ((OperatingSystemMXBean)ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    public static void main(final String[] args) throws Exception
    {
        final String topic = args[1];
        expected = Long.parseLong(args[2]);
        final Deserializer<Event> reader =
            args[3].equals("sbe") ? sbe(Integer.parseInt(args[7]), Integer.parseInt(args[8])) : json();
        final Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, args[4]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, args[5] + "/" + args[4]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");

        final StreamsBuilder builder = new StreamsBuilder();
        builder.stream(
                topic,
                Consumed.with(Serdes.String(), Serdes.serdeFrom((ignored, event) -> null, reader))
                    .withTimestampExtractor((record, partitionTime) ->
                    {
                        begin();
                        return ((Event)record.value()).ts / 1_000_000L;
                    }))
            .groupByKey(Grouped.keySerde(Serdes.String()))
            .windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, GRACE))
            .aggregate(
                () -> 0L,
                (server, event, sum) -> add(sum, event),
                Materialized.<String, Long>as(Stores.inMemoryWindowStore(STORE, WINDOW.plus(GRACE), WINDOW, false))
                    .withKeySerde(Serdes.String())
                    .withValueSerde(Serdes.Long())
                    .withCachingEnabled());
        final KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(error ->
        {
            error.printStackTrace();
            Runtime.getRuntime().halt(3);
            return null;
        });
        streams.start();
        DONE.await();
        final Map<String, Map<Long, Long>> sums = sums(streams);
        Files.writeString(Path.of(args[6]), document(sums), StandardCharsets.UTF_8);
        Runtime.getRuntime().halt(0);
    }

    private static Map<String, Map<Long, Long>> sums(final KafkaStreams streams)
    {
        final ReadOnlyWindowStore<String, Long> store =
            streams.store(StoreQueryParameters.fromNameAndType(STORE, QueryableStoreTypes.windowStore()));
        final Map<String, Map<Long, Long>> found = new TreeMap<>();
        try (KeyValueIterator<Windowed<String>, Long> all = store.fetchAll(Instant.EPOCH, Instant.ofEpochMilli(Long.MAX_VALUE)))
        {
            while (all.hasNext())
            {
                final KeyValue<Windowed<String>, Long> entry = all.next();
                found.computeIfAbsent(entry.key.key(), name -> new LinkedHashMap<>())
                    .put(entry.key.window().start() / 1_000L, entry.value);
            }
        }
        return found;
    }

    private static String document(final Map<String, Map<Long, Long>> sums) throws IOException
    {
        final Map<String, Object> out = new LinkedHashMap<>();
        out.put("events", processed);
        out.put("seconds", tookNs / 1e9);
        out.put("cpu_s", tookCpuNs / 1e9);
        out.put("sums", sums);
        out.put("java", System.getProperty("java.version"));
        return new ObjectMapper().writeValueAsString(out);
    }
}
