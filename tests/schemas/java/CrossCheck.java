import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

import knightwatch.sbe.Kind;
import knightwatch.sbe.MessageHeaderDecoder;
import knightwatch.sbe.MessageHeaderEncoder;
import knightwatch.sbe.OrderEventDecoder;
import knightwatch.sbe.OrderEventEncoder;
import knightwatch.sbe.Phase;
import knightwatch.sbe.Side;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * The other side of the SBE cross-check, on codecs that real-logic's sbe-tool generated from order-event.xml.
 * Text is one event a line, 19 columns between tabs, in the order of the fields in the schema file.
 *   encode TEXT BINARY: writes the events of TEXT as messages back to back.
 *   decode BINARY TEXT: the reverse.
 */
public final class CrossCheck
{
    private static final int MESSAGE = MessageHeaderEncoder.ENCODED_LENGTH + OrderEventEncoder.BLOCK_LENGTH;

    public static void main(final String[] args) throws Exception
    {
        final Path from = Path.of(args[1]);
        final Path to = Path.of(args[2]);
        if (args[0].equals("encode"))
        {
            Files.write(to, encode(Files.readAllLines(from, StandardCharsets.US_ASCII)));
        }
        else
        {
            Files.write(to, decode(Files.readAllBytes(from)), StandardCharsets.US_ASCII);
        }
    }

    private static byte[] encode(final List<String> lines)
    {
        final byte[] out = new byte[MESSAGE * lines.size()];
        final UnsafeBuffer buffer = new UnsafeBuffer(out);
        final MessageHeaderEncoder header = new MessageHeaderEncoder();
        final OrderEventEncoder event = new OrderEventEncoder();
        int at = 0;
        for (final String line : lines)
        {
            final String[] f = line.split("\t", -1);
            event.wrapAndApplyHeader(buffer, at, header)
                .seq(Long.parseUnsignedLong(f[0])).ts(Long.parseUnsignedLong(f[1])).qty(Long.parseLong(f[2]))
                .px(Long.parseLong(f[3])).bid(Long.parseLong(f[4])).ask(Long.parseLong(f[5]))
                .parent_id(f[6]).cl_ord_id(f[7]).orig_cl_ord_id(f[8]).exec_id(f[9])
                .server(f[10]).symbol(f[11]).strategy(f[12]).account(f[13]).venue(f[14])
                .kind(Kind.valueOf(f[15])).side(Side.valueOf(f[16])).phase(Phase.valueOf(f[17]));
            event.flags().clear().poss_dup(Boolean.parseBoolean(f[18]));
            at += MessageHeaderEncoder.ENCODED_LENGTH + event.encodedLength();
        }
        return out;
    }

    private static List<String> decode(final byte[] in)
    {
        final List<String> lines = new ArrayList<>();
        final UnsafeBuffer buffer = new UnsafeBuffer(in);
        final MessageHeaderDecoder header = new MessageHeaderDecoder();
        final OrderEventDecoder event = new OrderEventDecoder();
        for (int at = 0; at < in.length; at += MESSAGE)
        {
            event.wrapAndApplyHeader(buffer, at, header); // throws if the template id is another
            if (header.schemaId() != OrderEventDecoder.SCHEMA_ID || header.version() != OrderEventDecoder.SCHEMA_VERSION ||
                header.blockLength() != OrderEventDecoder.BLOCK_LENGTH)
            {
                throw new IllegalStateException("header at byte " + at + " is " + header);
            }
            lines.add(String.join("\t",
                Long.toUnsignedString(event.seq()), Long.toUnsignedString(event.ts()), Long.toString(event.qty()),
                Long.toString(event.px()), Long.toString(event.bid()), Long.toString(event.ask()),
                event.parent_id(), event.cl_ord_id(), event.orig_cl_ord_id(), event.exec_id(),
                event.server(), event.symbol(), event.strategy(), event.account(), event.venue(),
                event.kind().name(), event.side().name(), event.phase().name(),
                Boolean.toString(event.flags().poss_dup())));
        }
        return lines;
    }
}
