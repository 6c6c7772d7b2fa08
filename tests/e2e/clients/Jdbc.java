// The real JDBC driver as a program would use it. Arguments: the URL, then the part to play; the user's name and password
// come from the environment. Prints what it saw, a line each; what it did not expect ends it with a stack trace.

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import org.postgresql.PGConnection;
import org.postgresql.PGStatement;

class Jdbc {
  public static void main(String[] words) throws Exception {
    var user = System.getenv("PGUSER");
    try (var connection = DriverManager.getConnection(words[0], user, System.getenv("PGPASSWORD"))) {
      switch (words[1]) {
        case "reads" -> reads(connection);
        case "cursors" -> cursors(connection);
        case "batches" -> batches(connection);
        case "copies" -> copies(connection);
        case "held" -> held(connection);
        case "held batch" -> heldBatch(connection);
        case "denied" -> denied(connection);
        case "cancelled" -> cancelled(connection);
        default -> throw new IllegalArgumentException(words[1]);
      }
    }
  }

  static void say(Object... words) {
    var line = new StringBuilder();
    for (var word : words) line.append(line.isEmpty() ? "" : " ").append(word);
    System.out.println(line);
  }

  static long number(Connection connection, String query) throws SQLException {
    try (var statement = connection.createStatement(); var rows = statement.executeQuery(query)) {
      rows.next();
      return rows.getLong(1);
    }
  }

  /** More often than prepareThreshold (5): the last are named statements, whose answers come in binary. */
  static void reads(Connection connection) throws SQLException {
    var text = "SELECT id, name, email, card FROM customers WHERE id = ?";
    try (var statement = connection.prepareStatement(text)) {
      for (int turn = 0; turn < 8; turn++) {
        statement.setInt(1, 1 + turn % 2);
        var named = statement.unwrap(PGStatement.class).isUseServerPrepare();
        try (var rows = statement.executeQuery()) {
          rows.next();
          say(named ? "named" : "unnamed", rows.getInt(1), rows.getString(2), rows.getString(3), rows.getString(4));
        }
      }
    }
  }

  /** Two cursors of one statement text, read in turns: portals that are suspended and resumed. */
  static void cursors(Connection connection) throws SQLException {
    connection.setAutoCommit(false);
    var text = "SELECT i, repeat('x', i % 7) FROM generate_series(1, ?) i";
    try (var one = connection.prepareStatement(text); var two = connection.prepareStatement(text)) {
      one.setFetchSize(50);
      two.setFetchSize(7);
      one.setInt(1, 1000);
      two.setInt(1, 500);
      long first = 0, second = 0;
      try (var rows = one.executeQuery(); var others = two.executeQuery()) {
        while (rows.next()) {
          first += rows.getLong(1);
          if (others.next()) second += others.getLong(1);
        }
      }
      say(first, second);
    }
    connection.commit();
  }

  static void batches(Connection connection) throws SQLException {
    connection.createStatement().execute("CREATE TABLE jdbc_batched (a int, b text)");
    var rows = new Object[][] {{"no transaction", true}, {"transaction", false}};
    for (var row : rows) {
      connection.setAutoCommit((boolean) row[1]);
      try (var statement = connection.prepareStatement("INSERT INTO jdbc_batched VALUES (?, ?)")) {
        for (int turn = 0; turn < 700; turn++) {
          statement.setInt(1, turn);
          statement.setString(2, "row " + turn);
          statement.addBatch();
        }
        say(row[0], statement.executeBatch().length);
      }
      if (!connection.getAutoCommit()) connection.commit();
    }
    connection.setAutoCommit(true);
    say(number(connection, "SELECT count(*) FROM jdbc_batched"), number(connection, "SELECT sum(a) FROM jdbc_batched"));
    connection.createStatement().execute("DROP TABLE jdbc_batched");
  }

  static void copies(Connection connection) throws Exception {
    connection.createStatement().execute("CREATE TABLE jdbc_copied (a int, b text)");
    var manager = connection.unwrap(PGConnection.class).getCopyAPI();
    var in = new StringBuilder();
    for (int turn = 0; turn < 20000; turn++) in.append(turn).append("\trow ").append(turn).append('\n');
    say(manager.copyIn("COPY jdbc_copied FROM STDIN", new StringReader(in.toString())));
    var out = new StringWriter();
    say(manager.copyOut("COPY (SELECT * FROM jdbc_copied ORDER BY a) TO STDOUT", out));
    say(out.toString().contentEquals(in) ? "the same" : "changed");
    try {
      manager.copyIn("COPY jdbc_copied FROM STDIN", new StringReader("no number\tx\n"));
    } catch (SQLException error) {
      say(error.getSQLState());
    }
    say(number(connection, "SELECT count(*) FROM jdbc_copied"));
    connection.createStatement().execute("DROP TABLE jdbc_copied");
  }

  static void held(Connection connection) throws SQLException {
    try (var statement = connection.prepareStatement("UPDATE orders SET total = ? WHERE id = 20 RETURNING total")) {
      statement.setBigDecimal(1, new java.math.BigDecimal("77.50"));
      try (var rows = statement.executeQuery()) {
        rows.next();
        say(rows.getBigDecimal(1));
      }
      for (SQLWarning one = statement.getWarnings(); one != null; one = one.getNextWarning()) say(one.getMessage());
    }
  }

  static void heldBatch(Connection connection) throws SQLException {
    connection.setAutoCommit(false);
    try (var statement = connection.prepareStatement("INSERT INTO orders VALUES (?, 1, ?)")) {
      for (int turn = 100; turn < 103; turn++) {
        statement.setInt(1, turn);
        statement.setInt(2, turn);
        statement.addBatch();
      }
      for (int count : statement.executeBatch()) say(count);
    }
    connection.rollback();
    say(number(connection, "SELECT count(*) FROM orders WHERE id >= 100"));
  }

  static void denied(Connection connection) throws SQLException {
    refused(connection, "DROP TABLE orders");
    say(number(connection, "SELECT 41"));
    connection.setAutoCommit(false);
    say(number(connection, "SELECT 42"));
    refused(connection, "DROP TABLE orders");
    refused(connection, "SELECT 43");
    connection.rollback();
    say(number(connection, "SELECT 44"));
    try (var statement = connection.createStatement()) {
      statement.addBatch("INSERT INTO orders VALUES (200, 1, 1)");
      statement.addBatch("DROP TABLE orders");
      statement.executeBatch();
    } catch (BatchUpdateException error) {
      say(error.getSQLState());
    }
    connection.rollback();
    say(number(connection, "SELECT count(*) FROM orders WHERE id = 200"));
  }

  static void refused(Connection connection, String text) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(text)) {
      statement.execute();
      say("done", text);
    } catch (SQLException error) {
      say(error.getSQLState(), error.getMessage().lines().findFirst().get());
    }
  }

  /** Cancels when a line comes in, which the test sends when the statement is held. */
  static void cancelled(Connection connection) throws Exception {
    try (Statement statement = connection.createStatement()) {
      var other = new Thread(() -> {
        try {
          System.in.read();
          statement.cancel();
        } catch (Exception error) {
          throw new RuntimeException(error);
        }
      });
      other.start();
      try {
        say(statement.executeUpdate("DELETE FROM orders WHERE id = 20"), "deleted");
      } catch (SQLException error) {
        say(error.getSQLState());
      }
      other.join();
    }
    say(number(connection, "SELECT count(*) FROM orders WHERE id = 20"));
  }
}
